//! The plugins that the tables of a session use: loaded once, opened for each table.

use std::collections::HashMap;
use std::sync::Arc;

use super::mapped::Reshape;
use super::subset::Subset;
use super::table::SharedColumn;
use crate::config::{Config, PluginUse};
use crate::digest::short_digest;
use crate::plugin::{Facts, Failure, Filter, Host, LOCK, Lock, Mapping, Plugin, Resolver, Shape, ShapeColumn};

/// The plugins of a session, each loaded when it is first needed.
#[derive(Debug, Default)]
pub struct Plugins {
    lock: Option<Lock>,
    loaded: HashMap<String, Arc<Plugin>>,
    /// Filters that are no plugins.
    #[cfg(test)]
    pub native: HashMap<String, Native>,
    /// Mappings that are none.
    #[cfg(test)]
    pub native_mappings: HashMap<String, NativeMapping>,
}

/// A mapping that is made of a node's table and of what the file says to it.
#[cfg(test)]
type NativeMapping = fn(Shape, &str) -> Arc<dyn Reshape>;

/// A filter that is made of what the file says to it.
#[cfg(test)]
type Native = fn(&str) -> Arc<dyn super::subset::Judge>;

impl Plugins {
    /// Opens a resolver for a table of this shape.
    pub fn resolver(
        &mut self,
        config: &Config,
        table: &str,
        columns: &[SharedColumn],
        key: &[usize],
        used: &PluginUse,
    ) -> Result<Arc<Resolver>, Failure> {
        let plugin = self.plugin(config, &used.name)?;
        Resolver::open(plugin, shape(table, columns, key), &used.config, &facts(config)).map(Arc::new)
    }

    /// Opens a filter for a table of this shape.
    pub fn subset(
        &mut self,
        config: &Config,
        table: &str,
        columns: &[SharedColumn],
        key: &[usize],
        used: &PluginUse,
    ) -> Result<Subset, Failure> {
        #[cfg(test)]
        if let Some(native) = self.native.get(&used.name) {
            return Ok(Subset { judge: native(&used.config), mark: Some(mark("", &used.config)) });
        }
        let plugin = self.plugin(config, &used.name)?;
        let mark = Some(mark(&plugin.digest, &used.config));
        let filter = Filter::open(plugin, shape(table, columns, key), &used.config, &facts(config))?;
        Ok(Subset { judge: Arc::new(filter), mark })
    }

    /// Opens a mapping for a node's own table.
    pub fn mapping(&mut self, config: &Config, local: Shape, used: &PluginUse) -> Result<Arc<dyn Reshape>, Failure> {
        #[cfg(test)]
        if let Some(native) = self.native_mappings.get(&used.name) {
            return Ok(native(local, &used.config));
        }
        let plugin = self.plugin(config, &used.name)?;
        Ok(Arc::new(Mapping::open(plugin, local, &used.config, &facts(config))?))
    }

    /// What tells a mapping from others.
    pub fn mapping_mark(&mut self, config: &Config, used: &PluginUse) -> Result<String, Failure> {
        #[cfg(test)]
        if self.native_mappings.contains_key(&used.name) {
            return Ok(mark("", &used.config));
        }
        Ok(mark(&self.plugin(config, &used.name)?.digest, &used.config))
    }

    /// What the file says to a plugin, without its secrets.
    pub fn shown(&mut self, config: &Config, used: &PluginUse) -> Result<serde_json::Value, Failure> {
        #[cfg(test)]
        if self.native.contains_key(&used.name) || self.native_mappings.contains_key(&used.name) {
            return Ok(serde_json::from_str(&used.config).unwrap_or_default());
        }
        Ok(self.plugin(config, &used.name)?.shown(&used.config))
    }

    /// The plugin of this name, if it is the one that is pinned.
    fn plugin(&mut self, config: &Config, name: &str) -> Result<Arc<Plugin>, Failure> {
        if let Some(plugin) = self.loaded.get(name) {
            return Ok(Arc::clone(plugin));
        }
        let fail = |code: &str, message: String| Failure::new(name, code, message);
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => Lock::read(&config.folder().join(LOCK)).map_err(|why| fail("lock", why))?,
        };
        let lock = self.lock.insert(lock);
        let file = config.plugins.file(name)?;
        let Some(pin) = lock.pin(name) else {
            let hint = "look at it with `concord plugin check`, and pin it with `concord plugin lock`";
            return Err(fail("lock", format!("{LOCK} does not name it")).hint(hint));
        };
        let Some(file) = file else {
            return Err(fail("file", "the file names no folder of plugins".to_owned()));
        };
        let host = Host::shared().map_err(|why| fail("host", why))?;
        let plugin = Arc::new(Plugin::load(&host, &file, name, config.plugins.limits(name), Some(pin))?);
        self.loaded.insert(name.to_owned(), Arc::clone(&plugin));
        Ok(plugin)
    }
}

/// What tells a filter or mapping from others: the plugin's file, and what it is told.
fn mark(plugin: &str, config: &str) -> String {
    // The order in which the file says it does not matter.
    let mut said: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
    said.sort_all_objects();
    short_digest(format!("{plugin}\n{said}"))
}

/// A table as plugins are told of it.
pub(super) fn shape(table: &str, columns: &[SharedColumn], key: &[usize]) -> Shape {
    let column = |column: &SharedColumn| ShapeColumn { name: column.name.clone(), ty: column.ty.clone() };
    Shape { name: table.to_owned(), columns: columns.iter().map(column).collect(), key: key.to_vec() }
}

pub(super) fn facts(config: &Config) -> Facts {
    Facts { sync: config.name.clone(), nodes: config.node_names() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_another_order_is_the_same() {
        let first = mark("a", r#"{"x": 1, "y": {"b": [2, 1], "a": 3}}"#);
        assert_eq!(first, mark("a", r#"{"y": {"a": 3, "b": [2, 1]}, "x": 1}"#));
        assert_ne!(first, mark("a", r#"{"x": 1, "y": {"b": [1, 2], "a": 3}}"#));
        assert_ne!(first, mark("b", r#"{"x": 1, "y": {"b": [2, 1], "a": 3}}"#));
    }
}
