//! Dashboards for Grafana, as tables of panels, and what Grafana wants to read of them (the classic JSON model).

use serde_json::{Value, json};

/// The version of the JSON model. Grafana migrates from it to what it has.
const SCHEMA_VERSION: u32 = 41;

/// The columns of Grafana's grid.
const COLUMNS: u32 = 24;

/// How a panel shows its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Gauge,
    Heatmap,
    Lines,
    Stacked,
    Stat,
    States,
    Table,
}

/// One question and its answer.
#[derive(Debug)]
pub struct Panel {
    pub title: &'static str,
    /// What it shows and what to make of it.
    pub about: &'static str,
    /// Grafana's name of the unit.
    pub unit: &'static str,
    pub look: Look,
    pub width: u32,
    pub height: u32,
    /// PromQL and how a series is called. `@` stands for the selected gateways, `$r` for the interval of a rate.
    pub queries: &'static [(&'static str, &'static str)],
    /// Its colour below all steps: that of the worst value where more is better.
    pub base: &'static str,
    /// From which value on it has another one.
    pub steps: Steps,
}

impl Panel {
    pub const fn wide(mut self, width: u32) -> Self {
        self.width = width;
        self
    }

    pub const fn tall(mut self, height: u32) -> Self {
        self.height = height;
        self
    }

    pub const fn steps(mut self, base: &'static str, steps: Steps) -> Self {
        self.base = base;
        self.steps = steps;
        self
    }

    /// The queries as Grafana gets them.
    pub fn expressions(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.queries
            .iter()
            .map(|(expression, legend)| (expand(expression), *legend))
    }
}

/// What stands on a dashboard, from top to bottom.
#[derive(Debug)]
pub enum Item {
    Row(&'static str),
    Panel(Panel),
}

/// A dashboard.
#[derive(Debug)]
pub struct Board {
    pub uid: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    /// Whether one core can be chosen.
    pub by_core: bool,
    pub items: &'static [Item],
}

type Queries = &'static [(&'static str, &'static str)];

type Steps = &'static [(f64, &'static str)];

const fn panel(
    look: Look,
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    let (width, height) = match look {
        Look::Gauge | Look::Stat => (3, 5),
        Look::Heatmap | Look::Lines | Look::Stacked | Look::States | Look::Table => (8, 8),
    };
    Item::Panel(Panel {
        title,
        about,
        unit,
        look,
        width,
        height,
        queries,
        base: "blue",
        steps: &[],
    })
}

pub const fn lines(
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    panel(Look::Lines, title, unit, queries, about)
}

pub const fn stacked(
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    panel(Look::Stacked, title, unit, queries, about)
}

pub const fn stat(
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    panel(Look::Stat, title, unit, queries, about)
}

pub const fn gauge(
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    panel(Look::Gauge, title, unit, queries, about)
}

pub const fn heatmap(
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    panel(Look::Heatmap, title, unit, queries, about)
}

pub const fn table(
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    panel(Look::Table, title, unit, queries, about)
}

pub const fn states(
    title: &'static str,
    unit: &'static str,
    queries: Queries,
    about: &'static str,
) -> Item {
    panel(Look::States, title, unit, queries, about)
}

impl Item {
    pub const fn wide(self, width: u32) -> Self {
        match self {
            Self::Panel(panel) => Self::Panel(panel.wide(width)),
            row @ Self::Row(_) => row,
        }
    }

    pub const fn tall(self, height: u32) -> Self {
        match self {
            Self::Panel(panel) => Self::Panel(panel.tall(height)),
            row @ Self::Row(_) => row,
        }
    }

    pub const fn steps(self, base: &'static str, steps: Steps) -> Self {
        match self {
            Self::Panel(panel) => Self::Panel(panel.steps(base, steps)),
            row @ Self::Row(_) => row,
        }
    }
}

/// Fills in what stands for the selected gateways and for the interval.
pub fn expand(expression: &str) -> String {
    expression
        .replace('@', "job=~\"$job\",instance=~\"$instance\"")
        .replace("$r]", "$__rate_interval]")
}

impl Board {
    pub fn panels(&self) -> impl Iterator<Item = &'static Panel> {
        self.items.iter().filter_map(|item| match item {
            Item::Panel(panel) => Some(panel),
            Item::Row(_) => None,
        })
    }

    /// The file that Grafana reads.
    pub fn file(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.json()).expect("values become text");
        text.push('\n');
        text
    }

    pub fn json(&self) -> Value {
        json!({
            "annotations": { "list": annotations() },
            "description": self.about,
            "editable": true,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": null,
            "links": [{
                "asDropdown": false,
                "icon": "external link",
                "includeVars": true,
                "keepTime": true,
                "tags": ["mayfly"],
                "targetBlank": false,
                "title": "mayfly",
                "tooltip": "The other dashboards",
                "type": "dashboards",
                "url": "",
            }],
            "panels": self.placed(),
            "refresh": "30s",
            "schemaVersion": SCHEMA_VERSION,
            "tags": ["mayfly", "smtp"],
            "templating": { "list": self.variables() },
            "time": { "from": "now-3h", "to": "now" },
            "timepicker": {},
            "timezone": "browser",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
            "weekStart": "",
        })
    }

    /// The panels in their places: from left to right, as many as fit.
    fn placed(&self) -> Vec<Value> {
        let (mut x, mut y, mut tallest) = (0, 0, 0);
        let mut placed = Vec::new();
        for (number, item) in self.items.iter().enumerate() {
            let (width, height) = match item {
                Item::Row(_) => (COLUMNS, 1),
                Item::Panel(panel) => (panel.width, panel.height),
            };
            if x + width > COLUMNS {
                (x, y, tallest) = (0, y + tallest, 0);
            }
            let place = json!({ "h": height, "w": width, "x": x, "y": y });
            placed.push(match item {
                Item::Row(title) => row(number + 1, title, place),
                Item::Panel(panel) => panel.json(number + 1, place),
            });
            (x, tallest) = (x + width, tallest.max(height));
        }
        placed
    }

    fn variables(&self) -> Vec<Value> {
        let mut variables = vec![
            json!({
                // What config/grafana/provisioning/datasources makes.
                "current": { "selected": false, "text": "Prometheus", "value": "mayfly-prometheus" },
                "hide": 0,
                "includeAll": false,
                "label": "Data source",
                "multi": false,
                "name": "datasource",
                "options": [],
                "query": "prometheus",
                "refresh": 1,
                "regex": "",
                "skipUrlSync": false,
                "type": "datasource",
            }),
            variable("job", "Job", "label_values(mayfly_build_info, job)", None),
            // Of `up`, which also knows gateways that do not answer.
            variable(
                "instance",
                "Instance",
                "label_values(up{job=~\"$job\"}, instance)",
                Some(".*"),
            ),
        ];
        if self.by_core {
            variables.push(variable(
                "core",
                "Core",
                &expand("label_values(mayfly_core_tasks{@}, core)"),
                Some(".*"),
            ));
        }
        variables
    }
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// What can be chosen above the panels. `all` is what the choice of all stands for; without it, all values that were found: so
/// *all jobs* are those that scrape mayfly, and not Prometheus and the machine's exporters too.
fn variable(name: &str, label: &str, query: &str, all: Option<&str>) -> Value {
    let mut variable = json!({
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        "datasource": source(),
        "hide": 0,
        "includeAll": true,
        "label": label,
        "multi": true,
        "name": name,
        "options": [],
        "query": { "query": query, "refId": name },
        "refresh": 2,
        "regex": "",
        "skipUrlSync": false,
        "sort": 7,
        "type": "query",
    });
    if let Some(all) = all {
        variable["allValue"] = json!(all);
    }
    variable
}

/// PromQL of the marks across all panels.
pub const ANNOTATIONS: [(&str, &str, &str); 2] = [
    ("Restarts", "red", "mayfly_start_time_seconds{@} * 1000"),
    (
        "Reloads",
        "blue",
        "mayfly_config_last_reload_success_timestamp_seconds{@} * 1000",
    ),
];

fn annotations() -> Vec<Value> {
    let ours = ANNOTATIONS.iter().map(|(name, colour, expression)| {
        json!({
            "datasource": source(),
            "enable": true,
            "expr": expand(expression),
            "hide": false,
            "iconColor": colour,
            "name": name,
            "step": "60s",
            "tagKeys": "instance",
            "titleFormat": format!("{name}: {{{{instance}}}}"),
            // The value is the time, so the mark stands where it belongs and not where it was first seen.
            "useValueForTime": "on",
        })
    });
    let grafanas = json!({
        "builtIn": 1,
        "datasource": { "type": "grafana", "uid": "-- Grafana --" },
        "enable": true,
        "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    });
    std::iter::once(grafanas).chain(ours).collect()
}

fn row(id: usize, title: &str, place: Value) -> Value {
    json!({
        "collapsed": false,
        "gridPos": place,
        "id": id,
        "panels": [],
        "title": title,
        "type": "row",
    })
}

impl Panel {
    fn json(&self, id: usize, place: Value) -> Value {
        let mut defaults = json!({
            "color": { "mode": self.colour() },
            "custom": self.custom(),
            "mappings": self.mappings(),
            "thresholds": { "mode": "absolute", "steps": self.thresholds() },
        });
        if !self.is_table() {
            defaults["min"] = json!(0);
            defaults["unit"] = json!(self.unit);
        }
        if self.look == Look::Gauge {
            defaults["max"] = json!(1);
        }
        if matches!(self.look, Look::Gauge | Look::Stat) {
            // These have nothing of their own here.
            defaults["custom"] = json!({});
        }
        let mut panel = json!({
            "datasource": source(),
            "description": self.about,
            "fieldConfig": { "defaults": defaults, "overrides": self.overrides() },
            "gridPos": place,
            "id": id,
            "options": self.options(),
            "targets": self.targets(),
            "title": self.title,
            "type": self.kind(),
        });
        if self.is_table() {
            // The columns that Prometheus adds say nothing here.
            let hidden = ["Time", "__name__", "job"].map(|name| (name.to_owned(), json!(true)));
            panel["transformations"] = json!([{
                "id": "organize",
                "options": { "excludeByName": serde_json::Map::from_iter(hidden) },
            }]);
        }
        panel
    }

    fn is_table(&self) -> bool {
        self.look == Look::Table
    }

    /// Unit and colour of a table are those of the value: its other columns are words, even if they look like numbers.
    fn overrides(&self) -> Vec<Value> {
        if !self.is_table() {
            return Vec::new();
        }
        let mut properties = vec![json!({ "id": "unit", "value": self.unit })];
        if !self.steps.is_empty() {
            let cell = json!({ "mode": "basic", "type": "color-background" });
            properties.push(json!({ "id": "custom.cellOptions", "value": cell }));
        }
        vec![json!({
            "matcher": { "id": "byName", "options": "Value" },
            "properties": properties,
        })]
    }

    const fn kind(&self) -> &'static str {
        match self.look {
            Look::Gauge => "gauge",
            Look::Heatmap => "heatmap",
            Look::Lines | Look::Stacked => "timeseries",
            Look::Stat => "stat",
            Look::States => "state-timeline",
            Look::Table => "table",
        }
    }

    const fn colour(&self) -> &'static str {
        match self.look {
            Look::Gauge | Look::Stat | Look::States | Look::Table => "thresholds",
            Look::Heatmap | Look::Lines | Look::Stacked => "palette-classic",
        }
    }

    fn targets(&self) -> Vec<Value> {
        let instant = self.is_table();
        let format = match self.look {
            Look::Heatmap => "heatmap",
            Look::Table => "table",
            _ => "time_series",
        };
        let names = ["A", "B", "C", "D", "E", "F"];
        assert!(self.queries.len() <= names.len(), "{}", self.title);
        self.expressions()
            .zip(names)
            .map(|((expression, legend), name)| {
                json!({
                    "datasource": source(),
                    "editorMode": "code",
                    "expr": expression,
                    "format": format,
                    "instant": instant,
                    "legendFormat": legend,
                    "range": !instant,
                    "refId": name,
                })
            })
            .collect()
    }

    fn thresholds(&self) -> Vec<Value> {
        let base = json!({ "color": self.base, "value": null });
        let steps = self
            .steps
            .iter()
            .map(|(value, colour)| json!({ "color": colour, "value": value }));
        std::iter::once(base).chain(steps).collect()
    }

    fn mappings(&self) -> Value {
        if self.look != Look::States {
            return json!([]);
        }
        let names = ["normal", "strained", "overloaded", "refusing"];
        let named = names.iter().enumerate().map(|(level, name)| {
            let text = json!({ "index": level, "text": name });
            (level.to_string(), text)
        });
        json!([{ "type": "value", "options": serde_json::Map::from_iter(named) }])
    }

    /// What only panels of this kind have for each field.
    fn custom(&self) -> Value {
        let stacking = match self.look {
            Look::Stacked => "normal",
            _ => "none",
        };
        match self.look {
            Look::Lines | Look::Stacked => json!({
                "axisLabel": "",
                "axisPlacement": "auto",
                "drawStyle": "line",
                "fillOpacity": if self.look == Look::Stacked { 40 } else { 8 },
                "gradientMode": "none",
                "lineInterpolation": "linear",
                "lineWidth": 1,
                "showPoints": "never",
                "spanNulls": false,
                "stacking": { "group": "A", "mode": stacking },
                "thresholdsStyle": { "mode": if self.steps.is_empty() { "off" } else { "dashed" } },
            }),
            Look::Heatmap => json!({ "scaleDistribution": { "type": "linear" } }),
            Look::States => json!({ "fillOpacity": 80, "lineWidth": 0 }),
            Look::Table => {
                json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false })
            }
            Look::Gauge | Look::Stat => json!({}),
        }
    }

    fn options(&self) -> Value {
        let legend = json!({
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": true,
        });
        let reduced = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
        match self.look {
            Look::Lines | Look::Stacked => json!({
                "legend": legend,
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            Look::Stat => json!({
                "colorMode": "value",
                "graphMode": "area",
                "justifyMode": "auto",
                "orientation": "auto",
                "percentChangeColorMode": "standard",
                "reduceOptions": reduced,
                "showPercentChange": false,
                "textMode": "auto",
                "wideLayout": true,
            }),
            Look::Gauge => json!({
                "barShape": "flat",
                "barWidthFactor": 0.5,
                "effects": {},
                "minVizHeight": 75,
                "minVizWidth": 75,
                "orientation": "auto",
                "reduceOptions": reduced,
                "segmentCount": 1,
                "segmentSpacing": 0.3,
                "shape": "gauge",
                "showThresholdLabels": false,
                "showThresholdMarkers": true,
                "sizing": "auto",
            }),
            Look::Heatmap => json!({
                "calculate": false,
                "cellGap": 1,
                "color": {
                    "exponent": 0.5,
                    "fill": "dark-orange",
                    "mode": "scheme",
                    "reverse": false,
                    "scale": "exponential",
                    "scheme": "Oranges",
                    "steps": 64,
                },
                "exemplars": { "color": "rgba(255,0,255,0.7)" },
                "filterValues": { "le": 1e-9 },
                "legend": { "show": true },
                "rowsFrame": { "layout": "auto" },
                "showValue": "never",
                "tooltip": { "mode": "single", "yHistogram": false },
                "yAxis": { "axisPlacement": "left", "reverse": false, "unit": self.unit },
            }),
            Look::States => json!({
                "alignValue": "left",
                "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
                "mergeValues": true,
                "rowHeight": 0.9,
                "showValue": "auto",
                "tooltip": { "mode": "single", "sort": "none" },
            }),
            Look::Table => json!({ "cellHeight": "sm", "frameIndex": 0, "showHeader": true }),
        }
    }
}
