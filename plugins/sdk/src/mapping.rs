//! The role that turns a node's rows into rows of the shape that all nodes share, and back.

mod world {
    wit_bindgen::generate!({
        inline: "package concord:roles; world mapping { export concord:plugin/mapping@0.1.0; }",
        path: "../../wit",
        world: "concord:roles/mapping",
        with: { "concord:plugin/types@0.1.0": crate::inside::generated::types },
        pub_export_macro: true,
        default_bindings_module: "concord_plugin::mapping",
        export_macro_name: "export_mapping",
    });
}

#[doc(hidden)]
pub use world::*;

#[doc(hidden)]
pub use world::exports::concord::plugin::mapping::Put;

use crate::{Column, Context, Problem, Row, Value};

/// A mapping, opened for one table at one node.
///
/// Its two directions are a lens. What was put is what is got: `to_shared(to_local(shared, current)) == shared`. Putting back what
/// was got changes nothing: `to_local(to_shared(local), local) == local`.
pub trait Mapping: Sized + 'static {
    /// Called once in each instance, before any row. `context.table` is the node's own table.
    fn open(context: &Context) -> Result<Self, Problem>;

    /// The columns that [`Mapping::to_shared`] makes. Those of the key are those of the node's table, of the same kinds and with the
    /// same values, or others by a rule that Concord applies as well ([`Column::key_rule`]); their names may be others.
    fn columns(&self) -> Vec<Column>;

    /// The shared row of a local one. A problem makes this row wait.
    fn to_shared(&self, local: &[Value]) -> Result<Row, Problem>;

    /// The local row of a shared one, to be written where `current` stands, if a row does: what the shared row does not tell is taken
    /// from it.
    fn to_local(&self, shared: &[Value], current: Option<&[Value]>) -> Result<Row, Problem>;

    /// [`Mapping::to_shared`] of a row that nobody needs afterwards. A mapping that hands most values on as they are may move them. Concord
    /// asks this and [`Mapping::localize`], which have to answer what the other two do.
    fn share(&self, local: Row) -> Result<Row, Problem> {
        self.to_shared(&local)
    }

    /// [`Mapping::to_local`] of rows that nobody needs afterwards.
    fn localize(&self, shared: Row, current: Option<Row>) -> Result<Row, Problem> {
        self.to_local(&shared, current.as_deref())
    }
}

/// Exports a type as a mapping.
#[macro_export]
macro_rules! mapping {
    ($plugin:ty) => {
        $crate::plugin!($plugin: mapping);
    };
    (role $plugin:ty) => {
        const _: () = {
            struct Exported;

            ::std::thread_local! {
                static OPENED: ::std::cell::RefCell<Option<$plugin>> = const { ::std::cell::RefCell::new(None) };
            }

            impl $crate::mapping::exports::concord::plugin::mapping::Guest for Exported {
                fn open(context: $crate::Context) -> Result<$crate::Table, $crate::Problem> {
                    $crate::silence();
                    let opened = <$plugin as $crate::Mapping>::open(&context)?;
                    let columns = $crate::Mapping::columns(&opened);
                    OPENED.set(Some(opened));
                    Ok($crate::Table { name: context.table.name, columns })
                }

                fn to_shared(locals: Vec<$crate::Row>) -> Vec<Result<$crate::Row, $crate::Problem>> {
                    OPENED.with_borrow(|opened| match opened {
                        Some(opened) => {
                            locals.into_iter().map(|local| $crate::Mapping::share(opened, local)).collect()
                        }
                        None => panic!("asked before it was opened"),
                    })
                }

                fn to_local(puts: Vec<$crate::mapping::Put>) -> Vec<Result<$crate::Row, $crate::Problem>> {
                    OPENED.with_borrow(|opened| match opened {
                        Some(opened) => puts
                            .into_iter()
                            .map(|put| $crate::Mapping::localize(opened, put.shared, put.current))
                            .collect(),
                        None => panic!("asked before it was opened"),
                    })
                }
            }

            $crate::mapping::export_mapping!(Exported with_types_in $crate::mapping);
        };
    };
}
