// A headless Chromium, and pages that record their faults, such as errors and requests to other hosts.

import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { TOKEN } from "./place.mjs";

const PATHS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
export const SCREENSHOTS = new URL("../../target/screenshots/", import.meta.url).pathname;

// Sandboxing needs rights that root in a container lacks; the other flags stop the requests of the browser itself.
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--font-render-hinting=none",
];

export const DESKTOP = { width: 1280, height: 860 };
export const PHONE = { width: 390, height: 844 };

export class Browser {
  static async launch() {
    const executablePath = PATHS.find((path) => path && existsSync(path));
    assert(executablePath, "no Chromium: scripts/test-browser installs one, or set CHROMIUM to its path");
    const profile = mkdtempSync(join(tmpdir(), "clerk-sync-chromium-"));
    const browser = await chromium.launch({ executablePath, headless: true, args: ARGUMENTS, env: { ...process.env, HOME: profile } });
    mkdirSync(SCREENSHOTS, { recursive: true });
    return new Browser(browser, profile);
  }

  constructor(browser, profile) {
    this.browser = browser;
    this.profile = profile;
  }

  async close() {
    await this.browser.close();
    rmSync(this.profile, { recursive: true, force: true });
  }

  // A page of a fresh visitor. `page.faults` lists what a page must not do.
  async visit(place, { viewport = DESKTOP, colorScheme = "light", javaScriptEnabled = true } = {}) {
    const context = await this.browser.newContext({
      viewport, colorScheme, javaScriptEnabled, baseURL: place.url, timezoneId: "Europe/Berlin", locale: "en-GB", reducedMotion: "reduce",
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    page.faults = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) page.faults.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => page.faults.push(`error: ${error.message}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(place.url + "/") && !request.url().startsWith("data:")) {
        page.faults.push(`asked another host: ${request.url()}`);
      }
    });
    page.on("dialog", (dialog) => page.faults.push(`dialog: ${dialog.message()}`));
    return page;
  }

  // The same, logged in.
  async enter(place, options) {
    const page = await this.visit(place, options);
    await page.goto("/");
    await logIn(page);
    return page;
  }
}

// Closes a page, and asserts that it had no faults.
export async function leave(page) {
  await page.context().close();
  assert.deepEqual(page.faults, []);
}

export async function logIn(page) {
  await page.getByLabel("Admin token").fill(TOKEN);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => url.pathname !== "/login");
}

export async function shoot(page, name, fullPage = true) {
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage, animations: "disabled" });
}

// Whether the page is wider than its window.
export async function hasSidewaysScroll(page) {
  return page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
}
