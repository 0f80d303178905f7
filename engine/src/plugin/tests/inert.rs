//! WASI is there and does nothing: a component for each thing that a plugin could ask of it, written by hand.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::with_default;

use super::*;

/// A component that imports this and exports `answer`, which `fields` make of these functions, each a name and where it is.
fn asking(imports: &str, functions: &[(&str, &str)], fields: &str) -> String {
    let lower = |(name, function): &(&str, &str)| {
        format!(
            r#"(core func ${name} (canon lower (func {function})
                (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))"#
        )
    };
    let give = |(name, _): &(&str, &str)| format!(r#"(export "{name}" (func ${name}))"#);
    let lowered: String = functions.iter().map(lower).collect();
    let given: String = functions.iter().map(give).collect();
    format!(
        r#"(component
            {imports}
            (core module $memory
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192)))
            (core instance $heap (instantiate $memory))
            {lowered}
            (core module $asks
                (import "heap" "memory" (memory 1))
                {fields})
            (core instance $asked (instantiate $asks
                (with "heap" (instance $heap))
                (with "" (instance {given}))))
            (func (export "answer") (result u64) (canon lift (core func $asked "answer"))))"#
    )
}

/// What it answers or why it broke down, and its store.
fn ask(text: &str) -> (Result<u64, String>, Store<State>) {
    let host = host();
    let component = Component::from_binary(&host.engine, &component(text)).unwrap();
    let mut store = store(&host);
    let asked = host.linker.instantiate(&mut store, &component).and_then(|instance| {
        let answer = instance.get_typed_func::<(), (u64,)>(&mut store, "answer")?;
        answer.call(&mut store, ())
    });
    (asked.map(|(answer,)| answer).map_err(|why| format!("{why:#}")), store)
}

fn answer(text: &str) -> Result<u64, String> {
    ask(text).0
}

/// How many there are in the list that `get` tells.
const COUNT: &str = r#"(import "" "get" (func $get (param i32)))
    (func (export "answer") (result i64)
        (i32.store (i32.const 20) (i32.const -1))
        (call $get (i32.const 16))
        (i64.extend_i32_u (i32.load (i32.const 20))))"#;

#[test]
fn there_is_no_environment_and_no_argument() {
    for (function, element) in [("get-environment", "(tuple string string)"), ("get-arguments", "string")] {
        let imports = format!(
            r#"(import "wasi:cli/environment@0.2.0" (instance $host
                (export "{function}" (func (result (list {element}))))))"#
        );
        let asking = asking(&imports, &[("get", &format!(r#"$host "{function}""#))], COUNT);
        assert_eq!(answer(&asking), Ok(0), "{function}");
    }
}

#[test]
fn there_is_no_folder() {
    let imports = r#"(import "wasi:filesystem/types@0.2.0" (instance $types (export "descriptor" (type (sub resource)))))
        (alias export $types "descriptor" (type $descriptor))
        (import "wasi:filesystem/preopens@0.2.0" (instance $host
            (alias outer 1 $descriptor (type $d))
            (export "descriptor" (type $own (eq $d)))
            (export "get-directories" (func (result (list (tuple (own $own) string)))))))"#;
    assert_eq!(answer(&asking(imports, &[("get", r#"$host "get-directories""#)], COUNT)), Ok(0));
}

#[test]
fn clocks_stand_at_0() {
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance $host (export "now" (func (result u64)))))"#;
    let fields = r#"(import "" "now" (func $now (result i64)))
        (func (export "answer") (result i64) (i64.or (call $now) (call $now)))"#;
    assert_eq!(answer(&asking(imports, &[("now", r#"$host "now""#)], fields)), Ok(0));
    let imports = r#"(import "wasi:clocks/wall-clock@0.2.0" (instance $host
        (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $datetime (eq $record)))
        (export "now" (func (result $datetime)))))"#;
    let fields = r#"(import "" "now" (func $now (param i32)))
        (func (export "answer") (result i64)
            (i64.store (i32.const 16) (i64.const -1))
            (call $now (i32.const 16))
            (i64.or (i64.load (i32.const 16)) (i64.extend_i32_u (i32.load (i32.const 24)))))"#;
    assert_eq!(answer(&asking(imports, &[("now", r#"$host "now""#)], fields)), Ok(0));
}

#[test]
fn chance_is_alike_in_every_instance() {
    let number = r#"(import "" "get" (func $get (result i64))) (func (export "answer") (result i64) (call $get))"#;
    let pair = r#"(import "" "get" (func $get (param i32)))
        (func (export "answer") (result i64)
            (call $get (i32.const 16))
            (i64.xor (i64.load (i32.const 16)) (i64.load (i32.const 24))))"#;
    for (interface, function, ty, fields) in [
        ("random", "get-random-u64", "u64", number),
        ("insecure", "get-insecure-random-u64", "u64", number),
        ("insecure-seed", "insecure-seed", "(tuple u64 u64)", pair),
    ] {
        let imports = format!(
            r#"(import "wasi:random/{interface}@0.2.0" (instance $host (export "{function}" (func (result {ty})))))"#
        );
        let asking = asking(&imports, &[("get", &format!(r#"$host "{function}""#))], fields);
        let first = answer(&asking).unwrap_or_else(|why| panic!("{function}: {why}"));
        assert_eq!(answer(&asking), Ok(first), "{function}");
    }
}

/// What sockets are about, by the names `$code`, `$family` and `$network`.
const NETWORK: &str = r#"(import "wasi:sockets/network@0.2.0" (instance $net
        (type $codes (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
            "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
            "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
            "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
            "permanent-resolver-failure"))
        (export "error-code" (type (eq $codes)))
        (type $families (enum "ipv4" "ipv6"))
        (export "ip-address-family" (type (eq $families)))
        (export "network" (type (sub resource)))))
    (alias export $net "error-code" (type $code))
    (alias export $net "ip-address-family" (type $family))
    (alias export $net "network" (type $network))"#;

/// 100 and the place of the code among these, where the result that was written is an error.
const REFUSAL: &str = "(i64.extend_i32_u (i32.add
    (i32.mul (i32.load8_u (i32.const 16)) (i32.const 100))
    (i32.load8_u (i32.const 20))))";

#[test]
fn there_is_no_network() {
    for kind in ["tcp", "udp"] {
        let imports = format!(
            r#"{NETWORK}
            (import "wasi:sockets/{kind}@0.2.0" (instance $sockets (export "{kind}-socket" (type (sub resource)))))
            (alias export $sockets "{kind}-socket" (type $socket))
            (import "wasi:sockets/{kind}-create-socket@0.2.0" (instance $host
                (alias outer 1 $code (type $c))
                (export "error-code" (type $error (eq $c)))
                (alias outer 1 $family (type $f))
                (export "ip-address-family" (type $way (eq $f)))
                (alias outer 1 $socket (type $s))
                (export "{kind}-socket" (type $own (eq $s)))
                (export "create-{kind}-socket"
                    (func (param "address-family" $way) (result (result (own $own) (error $error)))))))"#
        );
        let fields = format!(
            r#"(import "" "create" (func $create (param i32 i32)))
            (func (export "answer") (result i64) (call $create (i32.const 0) (i32.const 16)) {REFUSAL})"#
        );
        let asking = asking(&imports, &[("create", &format!(r#"$host "create-{kind}-socket""#))], &fields);
        assert_eq!(answer(&asking), Ok(101), "{kind}: access-denied");
    }
    let imports = format!(
        r#"{NETWORK}
        (import "wasi:sockets/instance-network@0.2.0" (instance $ours
            (alias outer 1 $network (type $n))
            (export "network" (type $own (eq $n)))
            (export "instance-network" (func (result (own $own))))))
        (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $host
            (alias outer 1 $network (type $n))
            (export "network" (type $own (eq $n)))
            (alias outer 1 $code (type $c))
            (export "error-code" (type $error (eq $c)))
            (export "resolve-address-stream" (type $addresses (sub resource)))
            (export "resolve-addresses" (func (param "network" (borrow $own)) (param "name" string)
                (result (result (own $addresses) (error $error)))))))"#
    );
    let fields = format!(
        r#"(import "" "network" (func $network (result i32)))
        (import "" "resolve" (func $resolve (param i32 i32 i32 i32)))
        (data (i32.const 64) "localhost")
        (func (export "answer") (result i64)
            (call $resolve (call $network) (i32.const 64) (i32.const 9) (i32.const 16))
            {REFUSAL})"#
    );
    let functions = [("network", r#"$ours "instance-network""#), ("resolve", r#"$host "resolve-addresses""#)];
    assert_eq!(answer(&asking(&imports, &functions, &fields)), Ok(120), "permanent-resolver-failure");
}

/// The program that it is in goes on.
#[test]
fn whoever_ends_the_program_breaks_down() {
    let plugin = r#"(component
        (import "wasi:cli/exit@0.2.0" (instance $host (export "exit" (func (param "status" (result))))))
        (core func $exit (canon lower (func $host "exit")))
        (core module $exits
            (import "" "exit" (func $exit (param i32)))
            (func (export "nothing"))
            (func $start (call $exit (i32.const 0)))
            (start $start))
        (core instance $exited (instantiate $exits (with "" (instance (export "exit" (func $exit))))))
        (func $nothing (canon lift (core func $exited "nothing")))
        (instance $describe (export "describe" (func $nothing)))
        (instance $filter (export "open" (func $nothing)) (export "judge" (func $nothing)))
        (export "concord:plugin/describe@0.1.0" (instance $describe))
        (export "concord:plugin/filter@0.1.0" (instance $filter)))"#;
    let (code, text) = said(&component(plugin));
    assert_eq!(code, "trap");
    assert_eq!(text, "plugin `x`, start: it broke down (Exited with i32 exit status 0) (trap)");
}

/// What stands between a component and its standard output.
const STDOUT: &str = r#"(import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
    (alias export $errors "error" (type $error))
    (import "wasi:io/streams@0.2.0" (instance $streams
        (alias outer 1 $error (type $e))
        (export "error" (type $why (eq $e)))
        (type $failure (variant (case "last-operation-failed" (own $why)) (case "closed")))
        (export "stream-error" (type $fails (eq $failure)))
        (export "output-stream" (type $out (sub resource)))
        (export "[method]output-stream.blocking-write-and-flush"
            (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $fails)))))))
    (alias export $streams "output-stream" (type $stream))
    (import "wasi:cli/stdout@0.2.0" (instance $host
        (alias outer 1 $stream (type $s))
        (export "output-stream" (type $own (eq $s)))
        (export "get-stdout" (func (result (own $own))))))"#;

/// A component that prints this so many times, and answers how many of these were refused.
fn printing(text: &str, times: usize) -> String {
    let fields = format!(
        r#"(import "" "stdout" (func $stdout (result i32)))
        (import "" "write" (func $write (param i32 i32 i32 i32)))
        (data (i32.const 4096) "{text}")
        (func (export "answer") (result i64)
            (local $stream i32) (local $times i32) (local $refused i64)
            (local.set $stream (call $stdout))
            (loop $next
                (call $write (local.get $stream) (i32.const 4096) (i32.const {}) (i32.const 16))
                (local.set $refused
                    (i64.add (local.get $refused) (i64.extend_i32_u (i32.load8_u (i32.const 16)))))
                (local.set $times (i32.add (local.get $times) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $times) (i32.const {times}))))
            (local.get $refused))"#,
        text.len()
    );
    let write = r#"$streams "[method]output-stream.blocking-write-and-flush""#;
    asking(STDOUT, &[("stdout", r#"$host "get-stdout""#), ("write", write)], &fields)
}

/// What is logged meanwhile.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_printed_goes_to_the_log_with_the_plugins_name() {
    let (refused, mut store) = ask(&printing("a line", 1));
    assert_eq!(refused, Ok(0));
    let heard = Heard::default();
    let writer = heard.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    assert!(with_default(log, || store.data_mut().end()), "there is room for more");
    let said = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(["INFO", "a line", "plugin=x"].iter().all(|part| said.contains(part)), "{said}");
}

#[test]
fn what_is_printed_is_bounded() {
    let page = "x".repeat(4_096);
    // An instance that has printed 32 KiB is not asked again; of what it prints in one call 64 KiB are taken.
    for (times, refused, room) in [(7, 0, true), (8, 0, false), (16, 0, false), (17, 1, false)] {
        let (answer, mut store) = ask(&printing(&page, times));
        assert_eq!((answer, store.data_mut().end()), (Ok(refused), room), "{times} pages");
    }
}

#[test]
fn what_is_held_of_the_host_is_bounded() {
    let hold = |times: usize| {
        let fields = format!(
            r#"(import "" "stdout" (func $stdout (result i32)))
            (func (export "answer") (result i64)
                (local $times i32)
                (loop $next
                    (drop (call $stdout))
                    (local.set $times (i32.add (local.get $times) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $times) (i32.const {times}))))
                (i64.const 0))"#
        );
        answer(&asking(STDOUT, &[("stdout", r#"$host "get-stdout""#)], &fields))
    };
    assert_eq!(hold(1_000), Ok(0));
    let why = hold(1_001).unwrap_err();
    assert!(why.contains("resource table has no free keys"), "{why}");
}
