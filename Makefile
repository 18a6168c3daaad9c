# Every target makes the environments it needs. PYTHON names the interpreter to make them with (3.11 to 3.13).
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$python && break; done)

MAIN := .venv
RUNTIME := .venvs/runtime
SAVEDMODEL := .venvs/savedmodel
FRAMEWORKS := .venvs/frameworks
BACKENDS := .venvs/backends
CLUSTERS := .venvs/clusters
DOCS := .venvs/docs
ANYWHERE := .venvs/anywhere
BENCHMARKS := .venvs/benchmarks
NODE := .venvs/node
HEADERS := .venvs/onnxruntime-headers
PACKAGE := .venvs/package
BUNDLE := build/demo/bowl.pullback

export TF_CPP_MIN_LOG_LEVEL ?= 3
# On processors with AVX-512 TensorFlow's oneDNN gives wrong matrix products and crashes (runtime/pullback/onednn.py).
ifeq ($(ONEDNN_MAX_CPU_ISA)$(DNNL_MAX_CPU_ISA),)
export TF_ENABLE_ONEDNN_OPTS ?= 0
endif
# A test that hangs, a worker that dies and a run that does not end are failures.
TEST_SECONDS ?= 600
RUN_SECONDS ?= 7200
LIMITED := timeout --kill-after=30 $(RUN_SECONDS)
PYTEST := -m pytest --timeout=$(TEST_SECONDS)
XDIST ?= -n 2 --dist loadgroup --max-worker-restart=0

.PHONY: demo docs package test test-all test-main test-runtime test-savedmodel test-frameworks test-backends test-clusters test-anywhere environments all-environments bench overhead gate sweep lint format clean

demo: $(MAIN)/installed
	$(MAIN)/bin/python -m models.bowl_demo demo

# The other two environments are made while the main tests run; they need the bundle that those tests write.
test: $(MAIN)/installed
	$(MAKE) --no-print-directory -j 2 test-main environments
	$(MAKE) --no-print-directory -j 2 test-runtime test-savedmodel

# Every part runs, also after one that failed. Which failed, and how long each took, is printed at the end and stands in
# build/test-all.txt. Downloads of the other environments take minutes of waiting: they are made while the main tests run.
PARTS := test-runtime test-savedmodel test-frameworks test-backends test-clusters test-anywhere docs package
test-all: $(MAIN)/installed
	@mkdir -p build && rm -f build/test-all.txt
	@$(MAKE) --no-print-directory -j 2 part-test-main part-all-environments
	@for part in $(PARTS); do $(MAKE) --no-print-directory part-$$part || exit; done
	@cat build/test-all.txt && ! grep -q FAILED build/test-all.txt

part-%:
	@start=$$(date +%s); $(MAKE) --no-print-directory MARKED= $* && result=passed || result=FAILED; \
		echo "$* $$result $$(($$(date +%s) - start))" | awk '{printf "%-18s%s%7d s\n", $$1, $$2, $$3}' >> build/test-all.txt

# MARKED selects tests; what takes long runs only in test-all.
MARKED = -m "not slow"
test-main: $(MAIN)/installed
	PULLBACK_DEMO=build/demo $(LIMITED) $(MAIN)/bin/python $(PYTEST) $(XDIST) $(MARKED)

environments: $(RUNTIME)/installed $(SAVEDMODEL)/installed

all-environments: environments $(FRAMEWORKS)/installed $(BACKENDS)/installed $(CLUSTERS)/installed \
	$(ANYWHERE)/installed $(NODE)/installed $(HEADERS)/installed $(DOCS)/installed $(PACKAGE)/installed

# NumPy and ONNX Runtime alone: the runtime's tests, and the wheel with a bundle that the main tests wrote.
test-runtime: $(RUNTIME)/installed $(BUNDLE)/manifest.json
	PULLBACK_INSTALLED=runtime PULLBACK_BUNDLE=$(BUNDLE) $(LIMITED) $(RUNTIME)/bin/python $(PYTEST) tests/runtime tests/installed $(MARKED)

# TensorFlow, and no Keras.
test-savedmodel: $(SAVEDMODEL)/installed $(BUNDLE)/manifest.json
	PULLBACK_INSTALLED=savedmodel PULLBACK_BUNDLE=$(BUNDLE) $(LIMITED) $(SAVEDMODEL)/bin/python $(PYTEST) tests/installed

# PyTorch and JAX, and no TensorFlow: they clash over memory and threads. Only in test-all; both are large.
test-frameworks: $(FRAMEWORKS)/installed
	PULLBACK_INSTALLED=frameworks $(LIMITED) $(FRAMEWORKS)/bin/python $(PYTEST) tests/frameworks

# TensorFlow and JAX, for models of Keras on JAX, and tf_keras, for those of Keras 2. Only in test-all.
test-backends: $(BACKENDS)/installed
	PULLBACK_INSTALLED=backends $(LIMITED) $(BACKENDS)/bin/python $(PYTEST) tests/exporter/sources/test_keras_backend.py tests/exporter/sources/test_keras_2.py

# Ray and Spark, which needs Java 17. Only in test-all; both are large.
test-clusters: $(CLUSTERS)/installed
	PULLBACK_INSTALLED=clusters PYSPARK_PYTHON=$(CURDIR)/$(CLUSTERS)/bin/python $(LIMITED) $(CLUSTERS)/bin/python $(PYTEST) tests/clusters

# Node, Chromium, clients over HTTP, C++, files of other servers: what bundles travel to. Only in test-all.
test-anywhere: $(ANYWHERE)/installed $(NODE)/installed $(HEADERS)/installed
	PULLBACK_NODE=$(NODE) PULLBACK_ONNXRUNTIME_HEADERS=$(HEADERS) $(LIMITED) $(ANYWHERE)/bin/python $(PYTEST) tests/anywhere

$(BUNDLE)/manifest.json: | $(MAIN)/installed
	$(MAIN)/bin/python -m models.bowl_demo build/demo

$(MAIN)/installed: pyproject.toml
	@$(call require-python)
	@echo "Installing Pullback and its tools into $(MAIN); TensorFlow is large, this takes a few minutes"
	@test -x $(MAIN)/bin/python || $(PYTHON) -m venv $(MAIN)
	$(MAIN)/bin/python -m pip install --quiet --editable ".[dev]"
	@touch $@

SOURCES := $(shell find runtime exporter -name '*.py') pyproject.toml README.md LICENSE
build/wheel: $(SOURCES) | $(MAIN)/installed
	@rm -rf $@ && mkdir -p build
	$(MAIN)/bin/python -m build --wheel --outdir $@ . > build/wheel.log 2>&1 || (cat build/wheel.log; exit 1)

$(RUNTIME)/installed: build/wheel
	@test -x $(RUNTIME)/bin/python || $(MAIN)/bin/python -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install --quiet "pytest>=8" "pytest-timeout>=2.3" "hypothesis>=6.100" build/wheel/*.whl
	$(RUNTIME)/bin/python -m pip install --quiet --no-deps --force-reinstall build/wheel/*.whl
	@touch $@

# Keras comes with TensorFlow and is taken away again: `import tensorflow` works without it.
$(SAVEDMODEL)/installed: build/wheel
	@test -x $(SAVEDMODEL)/bin/python || $(MAIN)/bin/python -m venv $(SAVEDMODEL)
	$(SAVEDMODEL)/bin/python -m pip install --quiet "pytest>=8" "pytest-timeout>=2.3" "pullback[savedmodel] @ file://$$(ls $$PWD/build/wheel/*.whl)"
	$(SAVEDMODEL)/bin/python -m pip install --quiet --no-deps --force-reinstall build/wheel/*.whl
	$(SAVEDMODEL)/bin/python -m pip uninstall --quiet --yes keras
	@touch $@

# Environments that need extras of ours and nothing by hand. TORCH names the release: a version with a CPU build at hand is
# much smaller than what a range would take.
TORCH ?= torch==2.13.0
$(FRAMEWORKS)/installed: EXTRAS = torch,jax,pymc,numpyro
$(FRAMEWORKS)/installed: PEERS = "captum>=0.7,<1" "$(TORCH)"
$(BACKENDS)/installed: EXTRAS = export,jax
$(BACKENDS)/installed: PEERS = "tf_keras>=2.21,<2.22"
$(CLUSTERS)/installed: EXTRAS = ray,spark
$(FRAMEWORKS)/installed $(BACKENDS)/installed $(CLUSTERS)/installed: build/wheel
	@test -x $(@D)/bin/python || $(MAIN)/bin/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet "pytest>=8" "pytest-timeout>=2.3" $(PEERS)
	$(@D)/bin/python -m pip install --quiet "pullback[$(EXTRAS)] @ file://$$(ls $$PWD/build/wheel/*.whl)"
	$(@D)/bin/python -m pip install --quiet --no-deps --force-reinstall build/wheel/*.whl
	@touch $@

# Others' own words for what we write: Triton's and TensorFlow Serving's protobufs (without TensorFlow), YAML.
$(ANYWHERE)/installed: PEERS = "tritonclient[grpc]>=2.60" "pyyaml>=6" "markdown-it-py>=3"
$(ANYWHERE)/installed: build/wheel
	@test -x $(ANYWHERE)/bin/python || $(MAIN)/bin/python -m venv $(ANYWHERE)
	$(ANYWHERE)/bin/python -m pip install --quiet "pytest>=8" "pytest-timeout>=2.3" $(PEERS)
	$(ANYWHERE)/bin/python -m pip install --quiet --no-deps "tensorflow-serving-api>=2.19"
	$(ANYWHERE)/bin/python -m pip install --quiet "pullback[serve,umbridge,tesseract] @ file://$$(ls $$PWD/build/wheel/*.whl)"
	$(ANYWHERE)/bin/python -m pip install --quiet --no-deps --force-reinstall build/wheel/*.whl
	@touch $@

# Tests say so and skip where there is no Node.
$(NODE)/installed: tests/anywhere/node/package.json
	@mkdir -p $(NODE) && cp $< $(NODE)/package.json
	@if command -v npm > /dev/null; then cd $(NODE) && npm install --ignore-scripts --no-audit --no-fund --loglevel=error; \
		else echo "No npm: tests of Node and browsers are skipped"; fi
	@touch $@

# Headers of ONNX Runtime 1.29, which no Python package has: the only ones among the packages of npm are a plugin's for Unity.
HEADER_PACKAGE := com.github.asus4.onnxruntime@0.4.9
$(HEADERS)/installed:
	@mkdir -p $(HEADERS)
	@if command -v npm > /dev/null; then cd $(HEADERS) && npm pack --silent $(HEADER_PACKAGE) && \
		tar -xzf *.tgz --strip-components=7 --wildcards '*/ios-arm64_x86_64-simulator/*/Headers/*.h' && rm *.tgz; \
		else echo "No npm: the test of the C++ example is skipped"; fi
	@touch $@

# BENCH are its options: names of rows, --engines, --batches and --threads for some of them, --quick for small networks,
# --publish to put what was measured into docs/benchmarks.md and the README's table. AOTInductor needs g++.
bench: $(BENCHMARKS)/installed
	$(BENCHMARKS)/bin/python -m tests.benchmarks $(BENCH)

# All engines beside Pullback: large, and only for this.
$(BENCHMARKS)/installed: pyproject.toml
	@$(call require-python)
	@test -x $(BENCHMARKS)/bin/python || $(PYTHON) -m venv $(BENCHMARKS)
	$(BENCHMARKS)/bin/python -m pip install --quiet --editable ".[bench]" "$(TORCH)"
	@touch $@

# What each integration costs over a call by hand, each where its library is installed: writes a section of
# docs/benchmarks.md. The environments hold the wheel; what is measured are these sources.
overhead: export PYTHONPATH := $(CURDIR)/runtime:$(CURDIR)
overhead: $(MAIN)/installed $(FRAMEWORKS)/installed $(ANYWHERE)/installed
	rm -rf build/benchmarks/overhead
	$(MAIN)/bin/python -m tests.benchmarks.overhead main --live
	$(FRAMEWORKS)/bin/python -m tests.benchmarks.overhead frameworks
	$(ANYWHERE)/bin/python -m tests.benchmarks.overhead anywhere
	$(MAIN)/bin/python -m tests.benchmarks.overhead --publish

# The site, in build/docs/index.html: examples are run, warnings are errors, links inside of it are followed.
docs: $(DOCS)/installed
	$(DOCS)/bin/python -m sphinx -b html -W --keep-going -q -d build/doctrees docs build/docs
	$(DOCS)/bin/python docs/check_links.py build/docs

$(DOCS)/installed: pyproject.toml
	@$(call require-python)
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --editable ".[docs]"
	@touch $@

# What goes to the package indexes, in dist: built twice, byte for byte the same, and read by the tools of both indexes.
package: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1767225600)
package: $(PACKAGE)/installed
	rm -rf dist build/again
	$(PACKAGE)/bin/python -m build --outdir dist . > build/package.log 2>&1 || (cat build/package.log; exit 1)
	$(PACKAGE)/bin/python -m build --outdir build/again . > build/package.log 2>&1 || (cat build/package.log; exit 1)
	diff -r dist build/again
	$(PACKAGE)/bin/python -m twine check --strict dist/*
	$(PACKAGE)/bin/python -m tests.project.package dist

$(PACKAGE)/installed: Makefile
	@$(call require-python)
	@mkdir -p build && test -x $(PACKAGE)/bin/python || $(PYTHON) -m venv $(PACKAGE)
	$(PACKAGE)/bin/python -m pip install --quiet "build>=1.2" "twine>=6.1" "py-rattler-build>=0.60"
	@touch $@

# The two error rates of the gate: planted faults that it catches, right exports that it refuses. GATE="--every 10" is a
# quick look; GATE=--publish writes docs/gate.md.
gate: $(MAIN)/installed
	$(MAIN)/bin/python -m tests.error_rates $(GATE)

# Bundles that were written long ago, on the oldest and on the newest ONNX Runtime.
sweep: $(MAIN)/installed
	$(MAIN)/bin/python -m tests.golden.sweep

lint: $(MAIN)/installed
	$(MAIN)/bin/ruff check .
	$(MAIN)/bin/mypy

format: $(MAIN)/installed
	$(MAIN)/bin/ruff format .
	$(MAIN)/bin/ruff check --fix .

clean:
	rm -rf $(MAIN) .venvs build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define require-python
test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || \
	{ echo "Pullback needs Python 3.11, 3.12 or 3.13$(if $(PYTHON),; $(PYTHON) is not one,; none was found). Say which: make PYTHON=/path/to/python3.12"; exit 2; }
endef
