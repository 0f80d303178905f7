use super::{Error, ErrorKind, Node, Result};

pub async fn connect(_url: &str) -> Result<Box<dyn Node>> {
    Err(Error::new(ErrorKind::Other, "not built yet"))
}
