//! The functions a statement may call: DataFusion's, PostgreSQL's names for them, and what DataFusion lacks.
//!
//! One registry serves every session. What depends on the session or on the clock is no function here but a
//! [`session_value`]: a placeholder that each execution fills.

mod arithmetic;
mod array_text;
mod bounded;
mod cast;
mod concat;
pub(crate) mod from_pattern;
mod interval;
mod interval_value;
mod json;
mod math;
mod member;
mod moment;
mod number_format;
mod patterns;
mod plain;
mod series;
pub(crate) mod session_value;
mod text_match;
mod time_zone;
mod to_char;
mod units;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use datafusion::{
    common::DataFusionError,
    execution::{FunctionRegistry, SessionStateDefaults},
    logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF, planner::ExprPlanner},
};

pub(crate) use self::{
    arithmetic::as_date,
    array_text::{TO_ARRAY, refusal as malformed_array},
    cast::cast_call,
    interval_value::{interval_value, nullable},
    member::{MEMBER, as_list},
    plain::Plain,
    series::{Series, series},
    text_match::{LIKE_ESCAPE, SIMILAR_ESCAPE},
};

#[derive(Debug)]
pub(crate) struct Functions {
    pub scalar: HashMap<String, Arc<ScalarUDF>>,
    pub higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    pub aggregate: HashMap<String, Arc<AggregateUDF>>,
    pub window: HashMap<String, Arc<WindowUDF>>,
    pub planners: Vec<Arc<dyn ExprPlanner>>,
}

/// Functions that tell of the process, read files, or make arrays of any length from a number.
const LEFT_OUT: [&str; 21] = [
    "input_file_name",
    "file_row_index",
    "range",
    "generate_series",
    "gen_series",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "version",
    // Of other databases, in nanoseconds and UTC.
    "datepart",
    "datetrunc",
    "date_format",
    "from_unixtime",
    "to_unixtime",
    "to_local_time",
    "to_time",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
];

/// PostgreSQL's name, DataFusion's name.
const ALIASES: [(&str, &str); 4] = [
    ("gen_random_uuid", "uuid"),
    ("ceiling", "ceil"),
    ("char_length", "character_length"),
    ("array_length_total", "cardinality"),
];

impl Functions {
    pub(crate) fn new() -> Functions {
        let mut scalar = HashMap::new();
        for function in SessionStateDefaults::default_scalar_functions() {
            for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
                scalar.insert(name.to_owned(), Arc::clone(&function));
            }
        }
        for name in LEFT_OUT {
            scalar.remove(name);
        }
        for (name, existing) in ALIASES {
            if let Some(function) = scalar.get(existing).cloned() {
                scalar.entry(name.to_owned()).or_insert(function);
            }
        }
        for function in bounded::wrap(&scalar)
            .into_iter()
            .chain(array_text::all())
            .chain(member::all())
            .chain(from_pattern::all())
            .chain(math::all())
            .chain(text_match::all())
            .chain(time_zone::all())
            .chain(to_char::all())
            .chain(units::all())
            .chain(session_value::all())
        {
            scalar.insert(function.name().to_owned(), function);
        }
        session_value::add_aliases(&mut scalar);
        Functions {
            scalar,
            higher_order: by_name(SessionStateDefaults::default_higher_order_functions(), |function| {
                (function.name().to_owned(), function.aliases().to_vec())
            }),
            aggregate: aggregates(),
            window: by_name(SessionStateDefaults::default_window_functions(), |function| {
                (function.name().to_owned(), function.aliases().to_vec())
            }),
            planners: planners(),
        }
    }
}

fn planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![
        Arc::new(interval::IntervalArithmetic::new()),
        Arc::new(arithmetic::CalendarArithmetic::new()),
        Arc::new(units::Extraction::new()),
        Arc::new(json::JsonParts::new()),
        Arc::new(concat::Concatenation::new()),
    ];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

fn aggregates() -> HashMap<String, Arc<AggregateUDF>> {
    let mut all = by_name(SessionStateDefaults::default_aggregate_functions(), |function| {
        (function.name().to_owned(), function.aliases().to_vec())
    });
    if let Some(all_true) = all.get("bool_and").cloned() {
        all.insert("every".to_owned(), all_true);
    }
    if let Some(variance) = all.get("var_samp").cloned() {
        all.insert("variance".to_owned(), variance);
    }
    all
}

fn by_name<F>(functions: Vec<Arc<F>>, names: impl Fn(&F) -> (String, Vec<String>)) -> HashMap<String, Arc<F>> {
    let mut map = HashMap::new();
    for function in functions {
        let (name, aliases) = names(&function);
        for alias in aliases {
            map.insert(alias, Arc::clone(&function));
        }
        map.insert(name, function);
    }
    map
}

fn found<F>(map: &HashMap<String, Arc<F>>, name: &str) -> Result<Arc<F>, DataFusionError> {
    map.get(name).cloned().ok_or_else(|| DataFusionError::Plan(format!("Invalid function '{name}'.")))
}

/// For optimiser rules that need a function by name.
impl FunctionRegistry for Functions {
    fn udfs(&self) -> HashSet<String> {
        self.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> HashSet<String> {
        self.higher_order.keys().cloned().collect()
    }

    fn udafs(&self) -> HashSet<String> {
        self.aggregate.keys().cloned().collect()
    }

    fn udwfs(&self) -> HashSet<String> {
        self.window.keys().cloned().collect()
    }

    fn udf(&self, name: &str) -> Result<Arc<ScalarUDF>, DataFusionError> {
        found(&self.scalar, name)
    }

    fn higher_order_function(&self, name: &str) -> Result<Arc<HigherOrderUDF>, DataFusionError> {
        found(&self.higher_order, name)
    }

    fn udaf(&self, name: &str) -> Result<Arc<AggregateUDF>, DataFusionError> {
        found(&self.aggregate, name)
    }

    fn udwf(&self, name: &str) -> Result<Arc<WindowUDF>, DataFusionError> {
        found(&self.window, name)
    }

    fn expr_planners(&self) -> Vec<Arc<dyn ExprPlanner>> {
        self.planners.clone()
    }
}
