#!/bin/sh
# The example from the beginning to the end. Needs `concord` and SQLite's own `sqlite3`; makes and removes one.db and
# two.db in this folder.
set -eu
cd "$(dirname "$0")"
rm -f one.db one.db-wal one.db-shm two.db two.db-wal two.db-shm

sqlite3 one.db < customers.sql
sqlite3 two.db < customers.sql
concord check
concord install

# Row 6 is changed in table 1 and then in table 2, row 7 in table 2 and then in table 1. SQLite tells the time of a
# change in milliseconds; each of these takes longer than one.
sqlite3 one.db "UPDATE customers SET city = 'Algiers' WHERE id = 6"
sqlite3 two.db "UPDATE customers SET city = 'Palermo' WHERE id = 6"
sqlite3 two.db "UPDATE customers SET city = 'Boston' WHERE id = 7"
sqlite3 one.db "UPDATE customers SET city = 'Arlington' WHERE id = 7"

for node in one two; do echo "--- $node, before"; sqlite3 "$node.db" "SELECT * FROM customers WHERE id IN (6, 7)"; done
concord sync
for node in one two; do echo "--- $node, after"; sqlite3 "$node.db" "SELECT * FROM customers WHERE id IN (6, 7)"; done
concord conflicts list

# As if it had never been there.
concord uninstall --yes
