// Runs the scenario that is named, against the gateway that the environment names. tests/web/main.rs starts both.

import * as attacks from "./attacks.mjs";
import * as explorer from "./explorer.mjs";
import * as flows from "./flows.mjs";
import * as looks from "./looks.mjs";
import { withBrowser } from "./stage.mjs";

const name = process.argv[2];
const scenario = { ...attacks, ...explorer, ...flows, ...looks }[name];
if (!scenario) throw new Error(`there is no scenario ${name}`);
await withBrowser(scenario);
