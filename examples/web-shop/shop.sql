-- The web shop, on MariaDB. Customers and orders get their numbers here; what the office makes, it numbers from 500 on.
CREATE TABLE shop_customers (
    id            bigint PRIMARY KEY AUTO_INCREMENT,
    firstname     varchar(60) NOT NULL,
    lastname      varchar(60),
    login         varchar(120) NOT NULL,
    phone         varchar(30) NOT NULL DEFAULT '',
    place         varchar(120),
    newsletter    char(1) NOT NULL DEFAULT 'N',
    password_hash varchar(60) NOT NULL
);

CREATE TABLE shop_orders (
    id          bigint PRIMARY KEY AUTO_INCREMENT,
    customer_id bigint NOT NULL,
    state       smallint NOT NULL DEFAULT 0,
    total_cents bigint NOT NULL,
    placed      datetime NOT NULL,
    coupon      varchar(20),
    FOREIGN KEY (customer_id) REFERENCES shop_customers (id)
);

CREATE TABLE shop_stock (
    article     varchar(40) PRIMARY KEY,
    quantity    integer NOT NULL,
    price_cents integer NOT NULL,
    shelf       varchar(10) NOT NULL
);

INSERT INTO shop_customers VALUES
    (1, 'Ada', 'Lovelace', 'Ada@Example.org', '', '10115 Berlin', 'Y', '$2y$10$abc'),
    (3, 'Bob', 'van Loon', 'bob@example.org', '089 555', '80331 München', 'N', '$2y$10$def');
INSERT INTO shop_orders VALUES
    (1, 1, 2, 1990, '2024-03-01 10:00:00', 'SPRING'),
    (2, 3, 1, 500, '2024-03-02 12:00:00', NULL);
INSERT INTO shop_stock VALUES ('mug', 40, 990, 'A1'), ('tea', 12, 500, 'B2');
