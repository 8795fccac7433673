// Takes docs/dashboard.png of a running `clerk-sync dev`: node picture.mjs URL < TOKEN. scripts/dashboard-picture calls it.

import { readFileSync } from "node:fs";
import { Browser, DESKTOP } from "./browser.mjs";

const url = process.argv[2];
const token = readFileSync(0, "utf8").trim();
const browser = await Browser.launch();
// As high as the failed events of the demo, by code.
const page = await browser.visit({ url }, { viewport: { ...DESKTOP, height: 916 } });
await page.goto("/");
await page.getByLabel("Admin token").fill(token);
await page.getByRole("button", { name: "Log in" }).click();
await page.getByRole("heading", { name: "Failed events" }).waitFor();
const path = new URL("../../docs/dashboard.png", import.meta.url).pathname;
await page.screenshot({ path, animations: "disabled" });
await browser.close();
