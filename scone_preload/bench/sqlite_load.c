/*
 * sqlite_load.c - loads for SQLite: commits, point reads, and a mix of transactions after TPC-C.
 *
 * Owns: the database, which `prepare` makes, and its connection. Must never: go on after an error of SQLite's.
 * Called by: scone_preload/bench/files.py, linked with SQLite or with SQLCipher (SQLITE_HAS_CODEC: with a raw key).
 * Usage: sqlite_load prepare|commit|read|mix JOURNAL DATABASE ROWS; slices.h has what follows.
 */
#include <sqlite3.h>
#include <string.h>
#include "slices.h"

enum { DISTRICTS = 10, CUSTOMERS = 300, ITEMS = 2000, LINES = 10 };

/* The statements of all loads, compiled when first used. */
enum statement {
	BEGIN, COMMIT, INSERT, SELECT, ORDER_COUNT, ORDER_NUMBER, ORDER_INSERT, QUEUE, ITEM_PRICE, STOCK_LESS, LINE_INSERT,
	PAY_DISTRICT, PAY_CUSTOMER, PAY_HISTORY, CUSTOMER_SHOW, ORDER_LAST, LINES_SHOW, OLDEST, UNQUEUE, DELIVER, LINES_SUM, CUSTOMER_PAID,
	LOW_STOCK, STATEMENTS
};

static const char *const text[STATEMENTS] = {
	[BEGIN]         = "BEGIN IMMEDIATE",
	[COMMIT]        = "COMMIT",
	[INSERT]        = "INSERT INTO journal(v) VALUES(?1)",
	[SELECT]        = "SELECT v FROM pairs WHERE id = ?1",
	[ORDER_COUNT]   = "UPDATE district SET next = next + 1 WHERE id = ?1",
	[ORDER_NUMBER]  = "SELECT next FROM district WHERE id = ?1",
	[ORDER_INSERT]  = "INSERT INTO orders(district, number, customer) VALUES(?1, ?2, ?3)",
	[QUEUE]         = "INSERT INTO queue(district, number) VALUES(?1, ?2)",
	[ITEM_PRICE]    = "SELECT price FROM item WHERE id = ?1",
	[STOCK_LESS]    = "UPDATE stock SET quantity = CASE WHEN quantity > 10 THEN quantity - ?2 ELSE quantity + 91 END,"
			  " sold = sold + ?2 WHERE item = ?1",
	[LINE_INSERT]   = "INSERT INTO line(district, number, line, item, amount) VALUES(?1, ?2, ?3, ?4, ?5)",
	[PAY_DISTRICT]  = "UPDATE district SET paid = paid + ?2 WHERE id = ?1",
	[PAY_CUSTOMER]  = "UPDATE customer SET balance = balance - ?3, payments = payments + 1 WHERE district = ?1 AND id = ?2",
	[PAY_HISTORY]   = "INSERT INTO history(district, customer, amount, text) VALUES(?1, ?2, ?3, 'for what was ordered')",
	[CUSTOMER_SHOW] = "SELECT balance, payments, text FROM customer WHERE district = ?1 AND id = ?2",
	[ORDER_LAST]    = "SELECT max(number) FROM orders WHERE district = ?1 AND customer = ?2",
	[LINES_SHOW]    = "SELECT item, amount FROM line WHERE district = ?1 AND number = ?2",
	[OLDEST]        = "SELECT min(number) FROM queue WHERE district = ?1",
	[UNQUEUE]       = "DELETE FROM queue WHERE district = ?1 AND number = ?2",
	[DELIVER]       = "UPDATE orders SET carrier = 7 WHERE district = ?1 AND number = ?2",
	[LINES_SUM]     = "SELECT sum(amount) FROM line WHERE district = ?1 AND number = ?2",
	[CUSTOMER_PAID] = "UPDATE customer SET balance = balance + ?3 WHERE district = ?1 AND id ="
			  " (SELECT customer FROM orders WHERE district = ?1 AND number = ?2)",
	[LOW_STOCK]     = "SELECT count(DISTINCT item) FROM line JOIN stock USING(item) WHERE district = ?1 AND number >= ?2"
			  " AND quantity < 15",
};

static const char schema[] =
	"CREATE TABLE journal(id INTEGER PRIMARY KEY, v TEXT);"
	"CREATE TABLE pairs(id INTEGER PRIMARY KEY, v TEXT);"
	"CREATE TABLE district(id INTEGER PRIMARY KEY, next INT, paid INT);"
	"CREATE TABLE customer(district INT, id INT, balance INT, payments INT, text TEXT, PRIMARY KEY(district, id))"
	" WITHOUT ROWID;"
	"CREATE TABLE item(id INTEGER PRIMARY KEY, price INT, text TEXT);"
	"CREATE TABLE stock(item INTEGER PRIMARY KEY, quantity INT, sold INT, text TEXT);"
	"CREATE TABLE orders(district INT, number INT, customer INT, carrier INT, PRIMARY KEY(district, number)) WITHOUT ROWID;"
	"CREATE INDEX by_customer ON orders(district, customer, number);"
	"CREATE TABLE queue(district INT, number INT, PRIMARY KEY(district, number)) WITHOUT ROWID;"
	"CREATE TABLE line(district INT, number INT, line INT, item INT, amount INT, PRIMARY KEY(district, number, line))"
	" WITHOUT ROWID;"
	"CREATE TABLE history(district INT, customer INT, amount INT, text TEXT);";

static const char contents[] =
	"BEGIN;"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
	" INSERT INTO pairs SELECT i, hex(randomblob(50)) FROM n;"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
	" INSERT INTO district SELECT i, 0, 0 FROM n;"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
	" INSERT INTO customer SELECT d.id, i, 0, 0, hex(randomblob(150)) FROM n, district d;"
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
	" INSERT INTO item SELECT i, i %% 100 + 1, hex(randomblob(25)) FROM n;"
	"INSERT INTO stock SELECT id, 50, 0, hex(randomblob(120)) FROM item;"
	"COMMIT;";

static sqlite3 *base;
static sqlite3_stmt *compiled[STATEMENTS];
static int rows;

static void check(int result)
{
	if (result == SQLITE_OK || result == SQLITE_DONE || result == SQLITE_ROW)
		return;
	fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(base));
	exit(1);
}

static void execute(const char *sql) { check(sqlite3_exec(base, sql, NULL, NULL, NULL)); }

static sqlite3_stmt *statement(enum statement which)
{
	if (!compiled[which])
		check(sqlite3_prepare_v2(base, text[which], -1, &compiled[which], NULL));
	return compiled[which];
}

/* Runs a statement to its end, with so many numbers; the first column of the last row, 0 if there is none. */
static int64_t run(enum statement which, int count, const int64_t *values)
{
	sqlite3_stmt *one = statement(which);
	int64_t result = 0;
	int state;

	for (int i = 0; i < count; i++)
		check(sqlite3_bind_int64(one, i + 1, values[i]));
	while ((state = sqlite3_step(one)) == SQLITE_ROW)
		result = sqlite3_column_int64(one, 0);
	check(state);
	check(sqlite3_reset(one));
	return result;
}

#define RUN(which, ...) run(which, sizeof((int64_t[]){ 0, __VA_ARGS__ }) / 8 - 1, (int64_t[]){ __VA_ARGS__ })

static int64_t any(int below) { return (int64_t)(random_next() % (uint64_t)below) + 1; }

static int commit(void)
{
	static const char value[] = "a hundred bytes or so of text, as somebody may keep in a row of a table of a small data base ...";

	check(sqlite3_bind_text(statement(INSERT), 1, value, -1, SQLITE_STATIC));
	run(INSERT, 0, NULL);
	return 0;
}

static int read_row(void)
{
	sqlite3_stmt *one = statement(SELECT);

	check(sqlite3_bind_int64(one, 1, any(rows)));
	if (sqlite3_step(one) != SQLITE_ROW || sqlite3_column_bytes(one, 0) != 100)
		fail("a row is not there");
	check(sqlite3_reset(one));
	return 0;
}

static void new_order(int64_t district)
{
	int64_t number;

	RUN(ORDER_COUNT, district);
	number = RUN(ORDER_NUMBER, district);
	RUN(ORDER_INSERT, district, number, any(CUSTOMERS));
	RUN(QUEUE, district, number);
	for (int i = 0; i < LINES; i++) {
		int64_t item = any(ITEMS), count = any(10), price = RUN(ITEM_PRICE, item);

		RUN(STOCK_LESS, item, count);
		RUN(LINE_INSERT, district, number, i, item, price * count);
	}
}

static void payment(int64_t district)
{
	int64_t customer = any(CUSTOMERS), amount = any(5000);

	RUN(PAY_DISTRICT, district, amount);
	RUN(PAY_CUSTOMER, district, customer, amount);
	RUN(CUSTOMER_SHOW, district, customer);
	RUN(PAY_HISTORY, district, customer, amount);
}

static void order_status(int64_t district)
{
	int64_t customer = any(CUSTOMERS);

	RUN(CUSTOMER_SHOW, district, customer);
	RUN(LINES_SHOW, district, RUN(ORDER_LAST, district, customer));
}

static void delivery(void)
{
	for (int64_t district = 1; district <= DISTRICTS; district++) {
		int64_t number = RUN(OLDEST, district);

		if (!number)
			continue;
		RUN(UNQUEUE, district, number);
		RUN(DELIVER, district, number);
		RUN(CUSTOMER_PAID, district, number, RUN(LINES_SUM, district, number));
	}
}

/* One transaction; the shares are TPC-C's. */
static int mix(void)
{
	int64_t share = any(100), district = any(DISTRICTS);

	if (share > 92 && share <= 96) {	/* these only read */
		order_status(district);
		return 0;
	}
	if (share > 96) {
		RUN(LOW_STOCK, district, RUN(OLDEST, district) - 20);
		return 0;
	}
	RUN(BEGIN);
	if (share <= 45)
		new_order(district);
	else if (share <= 88)
		payment(district);
	else
		delivery();
	RUN(COMMIT);
	return 0;
}

static const struct load loads[] = {
	{ .name = "commit", .step = commit,   .batch = 1 },
	{ .name = "read",   .step = read_row, .batch = 8 },
	{ .name = "mix",    .step = mix,      .batch = 1 },
};

static void open_base(const char *path, const char *journal)
{
	char words[100];

	check(sqlite3_open(path, &base));
#ifdef SQLITE_HAS_CODEC
	execute("PRAGMA key = \"x'2DD29CA851E7B56E4697B0E1F08507293D761A05CE4D1B628663F411A8086D99'\"");
	execute("PRAGMA cipher_page_size = 4096");	/* as SQLite's; its own default was 1024 */
#endif
	snprintf(words, sizeof(words), "PRAGMA journal_mode = %s", journal);
	execute(words);
	execute("PRAGMA synchronous = FULL");
}

int main(int argc, char **argv)
{
	char words[sizeof(contents) + 64];

	rows = argc == 5 ? atoi(argv[4]) : 0;
	if (rows < 1)
		return 2;
	open_base(argv[3], argv[2]);
	if (strcmp(argv[1], "prepare") == 0) {
		execute(schema);
		snprintf(words, sizeof(words), contents, rows, DISTRICTS, CUSTOMERS, ITEMS);
		execute(words);
		check(sqlite3_close(base));
		return 0;
	}
	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
		if (strcmp(loads[i].name, argv[1]) == 0)
			return serve(&loads[i]);
	return 2;
}
