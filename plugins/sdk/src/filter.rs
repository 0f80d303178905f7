//! The role that says which rows belong at a node.

mod world {
    wit_bindgen::generate!({
        inline: "package concord:roles; world filter { export concord:plugin/filter@0.1.0; }",
        path: "../../wit",
        world: "concord:roles/filter",
        with: { "concord:plugin/types@0.1.0": crate::inside::generated::types },
        pub_export_macro: true,
        default_bindings_module: "concord_plugin::filter",
        export_macro_name: "export_filter",
    });
}

#[doc(hidden)]
pub use world::*;

#[doc(hidden)]
pub use world::exports::concord::plugin::filter::Verdict;

use crate::{Context, Problem, Value};

/// A filter, opened for one table at one node.
pub trait Filter: Sized + 'static {
    /// Called once in each instance, before any row.
    fn open(context: &Context) -> Result<Self, Problem>;

    /// The names of the columns that it wants to see. It is shown these and no others.
    fn columns(&self) -> Vec<String>;

    /// Whether a row belongs at the node, by its values of [`Filter::columns`], in their order. The answer depends on nothing else.
    /// A problem makes this row wait.
    fn keeps(&self, row: &[Value]) -> Result<bool, Problem>;
}

/// Exports a type as a filter; or makes one that takes no configuration of its name, a sentence, the columns that it wants to see, and
/// whether a row of these belongs. Its version is that of its crate.
#[macro_export]
macro_rules! filter {
    ($name:literal, $summary:literal, [$($column:literal),+ $(,)?], $keeps:expr $(,)?) => {
        const _: () = {
            struct Stated;

            impl $crate::Plugin for Stated {
                const NAME: &str = $name;
                const VERSION: &str = env!("CARGO_PKG_VERSION");
                const SUMMARY: &str = $summary;
            }

            impl $crate::Filter for Stated {
                fn open(context: &$crate::Context) -> Result<Self, $crate::Problem> {
                    for column in [$($column),+] {
                        context.place(column)?;
                    }
                    Ok(Stated)
                }

                fn columns(&self) -> Vec<String> {
                    [$($column),+].map(str::to_owned).into()
                }

                fn keeps(&self, row: &[$crate::Value]) -> Result<bool, $crate::Problem> {
                    // It can keep nothing from row to row.
                    let keeps: fn(&[$crate::Value]) -> bool = $keeps;
                    Ok(keeps(row))
                }
            }

            $crate::filter!(Stated);
        };
    };
    ($plugin:ty) => {
        $crate::plugin!($plugin: filter);
    };
    (role $plugin:ty) => {
        const _: () = {
            struct Exported;

            ::std::thread_local! {
                static OPENED: ::std::cell::RefCell<Option<$plugin>> = const { ::std::cell::RefCell::new(None) };
            }

            impl $crate::filter::exports::concord::plugin::filter::Guest for Exported {
                fn open(context: $crate::Context) -> Result<Vec<String>, $crate::Problem> {
                    $crate::silence();
                    let opened = <$plugin as $crate::Filter>::open(&context)?;
                    let columns = $crate::Filter::columns(&opened);
                    OPENED.set(Some(opened));
                    Ok(columns)
                }

                fn judge(rows: Vec<$crate::Row>) -> Vec<Result<$crate::filter::Verdict, $crate::Problem>> {
                    let verdict = |keeps| match keeps {
                        true => $crate::filter::Verdict::Keep,
                        false => $crate::filter::Verdict::Drop,
                    };
                    OPENED.with_borrow(|opened| match opened {
                        Some(opened) => rows.iter().map(|row| $crate::Filter::keeps(opened, row).map(verdict)).collect(),
                        None => panic!("asked before it was opened"),
                    })
                }
            }

            $crate::filter::export_filter!(Exported with_types_in $crate::filter);
        };
    };
}
