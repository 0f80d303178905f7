//! What every kind of database has to do alike. A new kind gets all of it by adding itself to the list in
//! [`concord_tests::Kind`].

mod capture;
mod mending;
mod scan;
mod witness;
mod writing;
