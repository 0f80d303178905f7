//! How a batch of decisions is written to one database.
