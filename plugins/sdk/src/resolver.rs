//! The role that decides conflicts.

mod world {
    wit_bindgen::generate!({
        inline: "package concord:roles; world resolver { export concord:plugin/resolver@0.1.0; }",
        path: "../../wit",
        world: "concord:roles/resolver",
        with: { "concord:plugin/types@0.1.0": crate::inside::generated::types },
        pub_export_macro: true,
        default_bindings_module: "concord_plugin::resolver",
        export_macro_name: "export_resolver",
    });
}

#[doc(hidden)]
pub use world::*;

pub use world::exports::concord::plugin::resolver::{Change, Conflict, Needs, Resolution, Version};

use crate::{Context, Problem};

/// A resolver, opened for one table.
pub trait Resolver: Sized + 'static {
    /// Called once in each instance, before any row.
    fn open(context: &Context) -> Result<Self, Problem>;

    /// The columns whose values before and after each change are to be told.
    fn recorded(&self) -> Vec<String> {
        Vec::new()
    }

    /// What becomes of a row that was changed at several nodes.
    fn resolve(&self, conflict: &Conflict) -> Result<Resolution, Problem>;
}

/// Exports a type as a resolver.
#[macro_export]
macro_rules! resolver {
    ($plugin:ty) => {
        $crate::plugin!($plugin: resolver);
    };
    (role $plugin:ty) => {
        const _: () = {
            struct Exported;

            ::std::thread_local! {
                static OPENED: ::std::cell::RefCell<Option<$plugin>> = const { ::std::cell::RefCell::new(None) };
            }

            impl $crate::resolver::exports::concord::plugin::resolver::Guest for Exported {
                fn open(context: $crate::Context) -> Result<$crate::resolver::Needs, $crate::Problem> {
                    $crate::silence();
                    let opened = <$plugin as $crate::Resolver>::open(&context)?;
                    let needs = $crate::resolver::Needs {
                        recorded: $crate::Resolver::recorded(&opened),
                        facts: Vec::new(),
                    };
                    OPENED.set(Some(opened));
                    Ok(needs)
                }

                fn resolve(conflicts: Vec<$crate::Conflict>) -> Vec<Result<$crate::Resolution, $crate::Problem>> {
                    OPENED.with_borrow(|opened| match opened {
                        Some(opened) => {
                            conflicts.iter().map(|conflict| $crate::Resolver::resolve(opened, conflict)).collect()
                        }
                        None => panic!("asked before it was opened"),
                    })
                }
            }

            $crate::resolver::export_resolver!(Exported with_types_in $crate::resolver);
        };
    };
}
