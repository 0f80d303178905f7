CREATE TABLE customers (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    city TEXT
);

INSERT INTO customers VALUES
    ( 1, 'Ada',    'London'),
    ( 2, 'Blaise', 'Paris'),
    ( 3, 'Carl',   'Brunswick'),
    ( 4, 'Daniel', 'Basel'),
    ( 5, 'Emmy',   'Erlangen'),
    ( 6, 'Fibo',   'Pisa'),
    ( 7, 'Grace',  'New York'),
    ( 8, 'Henri',  'Nancy'),
    ( 9, 'Isaac',  'Grantham'),
    (10, 'John',   'Budapest');
