//! The dashboards held against the types that Grafana publishes (`@grafana/schema`), by the TypeScript compiler.

use crate::BOARDS;
use crate::gateway::tools::{program, succeed};
use crate::path;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// What stands before the values. JSON has words where the types have enums, so a type is first made into the one of its JSON.
/// What the data source keeps in a mark is not in the schema.
const HEAD: &str = r#"
import type { Dashboard, Panel, RowPanel, AnnotationQuery, VariableModel } from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";
import type * as gauge from "@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as state_timeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
type Json<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> }
  : T;
type Mark = AnnotationQuery & { expr?: string, step?: string, tagKeys?: string, titleFormat?: string, useValueForTime?: string };
type None = Record<string, never>;
"#;

/// The type of a kind of panel's options, and of what it keeps for each field.
fn types(kind: &str) -> (String, String) {
    let module = kind.replace('-', "_");
    let fields = match kind {
        "gauge" | "stat" => "None".to_owned(),
        _ => format!("{module}.FieldConfig"),
    };
    (format!("{module}.Options"), fields)
}

fn check(text: &mut String, value: &Value, of: &str) {
    let _ = writeln!(text, "({value}) satisfies {of};");
}

#[test]
fn the_dashboards_fit_grafanas_types() {
    let mut text = HEAD.to_owned();
    for board in BOARDS {
        let mut json = board.json();
        let panels = json["panels"].take();
        for panel in panels.as_array().into_iter().flatten() {
            let kind = panel["type"].as_str().expect("a word");
            if kind == "row" {
                check(&mut text, panel, "Json<RowPanel>");
                continue;
            }
            let (options, fields) = types(kind);
            check(&mut text, panel, "Json<Panel>");
            check(&mut text, &panel["options"], &format!("Json<{options}>"));
            check(
                &mut text,
                &panel["fieldConfig"]["defaults"]["custom"],
                &format!("Json<{fields}>"),
            );
        }
        for mark in json["annotations"]["list"]
            .take()
            .as_array()
            .into_iter()
            .flatten()
        {
            check(&mut text, mark, "Json<Mark>");
        }
        for variable in json["templating"]["list"].as_array().into_iter().flatten() {
            check(&mut text, variable, "Json<VariableModel>");
        }
        json["annotations"] = Map::new().into();
        json["panels"] = Vec::<Value>::new().into();
        // A dashboard in a file has no number yet; the type knows only those that have one.
        json.as_object_mut().expect("an object").remove("id");
        check(&mut text, &json, "Json<Dashboard>");
    }
    let folder = path("target/observability/types");
    let file = folder.join("dashboards.ts");
    std::fs::write(&file, text).expect("written (tests/setup makes the folder)");
    succeed(
        program("npx")
            .current_dir(&folder)
            .args([
                "--no-install",
                "tsc",
                "--noEmit",
                "--strict",
                "--target",
                "es2022",
            ])
            .args([
                "--module",
                "nodenext",
                "--moduleResolution",
                "nodenext",
                "--skipLibCheck",
                "dashboards.ts",
            ]),
        "",
    );
}
