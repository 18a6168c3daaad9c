"""Samplers through a bundle, against a posterior in closed form: ``c[1]`` of ``hill`` is linear, the noise normal."""

from __future__ import annotations

import numpy as np
import pullback

A, NOISE, SEEN = np.array([0.5, 1.0, -1.5]), 0.5, 0.8

# x ~ N(0, I), SEEN ~ N(A.x, NOISE**2): the textbook posterior of Bayesian linear regression.
COVARIANCE = np.linalg.inv(np.eye(3) + np.outer(A, A) / NOISE**2)
MEAN = COVARIANCE @ A * SEEN / NOISE**2


def check(draws: np.ndarray) -> None:
    """Within five standard errors of an effective sample of a quarter of the draws."""
    error = np.sqrt(np.diag(COVARIANCE) / (len(draws) / 4))
    assert (np.abs(draws.mean(0) - MEAN) < 5 * error).all()
    np.testing.assert_allclose(np.cov(draws.T), COVARIANCE, atol=0.12)


def test_numpyro(hill: pullback.Bundle) -> None:
    import jax
    import numpyro
    from numpyro.infer import MCMC, NUTS
    from pullback.integrations.jax import to_jax

    f = to_jax(hill, of="c[1]")

    def model() -> None:
        x = numpyro.sample("x", numpyro.distributions.Normal(0, 1).expand([3]).to_event(1))
        numpyro.sample("seen", numpyro.distributions.Normal(f(x), NOISE), obs=SEEN)

    # jax.enable_x64(True) holds in one thread, and callbacks of long programs come from others.
    jax.config.update("jax_enable_x64", True)
    try:
        sampler = MCMC(NUTS(model), num_warmup=300, num_samples=1500, progress_bar=False)
        sampler.run(jax.random.PRNGKey(0))
        check(np.asarray(sampler.get_samples()["x"]))
    finally:
        jax.config.update("jax_enable_x64", False)


def test_pymc(hill: pullback.Bundle) -> None:
    import pymc
    import pytensor
    from pullback.integrations.pytensor import to_pytensor

    with pytensor.config.change_flags(cxx="", mode="FAST_COMPILE"), pymc.Model():
        x = pymc.Normal("x", 0, 1, shape=3)
        pymc.Normal("seen", to_pytensor(hill, of="c[1]")(x), NOISE, observed=SEEN)
        trace = pymc.sample(1500, tune=300, chains=1, cores=1, random_seed=0, progressbar=False)
    check(trace.posterior["x"].values[0])
