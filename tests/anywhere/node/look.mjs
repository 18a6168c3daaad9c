// node look.mjs BROWSER URL STEPS.js [WIDTH [PICTURE.png [SCHEME]]]: opens a page, waits until it has checked itself, runs
// the steps in it and prints what they return, with every error and request, as JSON.
import { readFileSync } from "node:fs";
import puppeteer from "puppeteer-core";

const [, , executablePath, url, steps, width = "1280", picture, scheme = "light"] = process.argv;
const seen = { errors: [], requests: [] };
const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox"], headless: true });
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") seen.errors.push(message.text()); });
  page.on("request", (request) => seen.requests.push(request.url()));
  await page.setViewport({ width: Number(width), height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(url);
  await page.waitForFunction(() => document.documentElement.dataset.checked, { timeout: 60000 });
  const returned = await page.evaluate(`(async () => { ${readFileSync(steps, "utf8")} })()`);
  if (picture) await page.screenshot({ path: picture, fullPage: true });
  process.stdout.write(JSON.stringify({ ...seen, returned }));
} finally {
  await browser.close();
}
