//! Surroundings that are not as they should be: networks, servers, disks, rights, engines that stand still. Whatever it is,
//! one error says so, the others go on, nothing is lost, and everything arrives when it is over.

mod engines;
mod mariadb;
mod network;
mod postgres;
mod storage;

use concord_tests::Output;

/// How a sync may end that came to harm on the way: in time again, or without the node.
#[track_caller]
fn ended(output: &Output, when: &str) {
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{when}: {output:?}");
}
