//! The smallest filter, which the documentation shows.

use concord_plugin::*;

filter!("germany", "Rows of Germany belong at the node", ["country"], |row| row[0].as_text() == Some("DE"));
