-- The back office, on PostgreSQL.
CREATE TABLE customers (
    id           bigint PRIMARY KEY,
    name         text NOT NULL,
    email        text NOT NULL,
    phone        text,
    zip          text,
    city         text,
    wants_news   boolean NOT NULL,
    credit_limit numeric(10, 2)
);

CREATE TABLE orders (
    id       bigint PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customers,
    status   text NOT NULL,
    total    numeric(12, 2) NOT NULL,
    placed   timestamp(0) NOT NULL,
    channel  text NOT NULL
);

CREATE TABLE stock (
    sku     text PRIMARY KEY,
    on_hand integer NOT NULL,
    price   numeric(10, 2) NOT NULL
);

INSERT INTO customers VALUES
    (1, 'Ada Lovelace', 'ada@example.org', NULL, '10115', 'Berlin', true, 500),
    (2, 'Mary Ann Evans', 'george@example.org', '0221 1234', '50667', 'Köln', false, 0);
INSERT INTO orders VALUES
    (1, 1, 'shipped', 19.90, '2024-03-01 10:00:00', 'web'),
    (500, 2, 'new', 250.00, '2024-03-02 11:30:00', 'phone');
INSERT INTO stock VALUES ('mug', 40, 9.90), ('tea', 12, 5.00);
