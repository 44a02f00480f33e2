// Reads the block that expected.json describes with DuckDB and with hyparquet, and compares counts and values.
// Usage: node read.mjs DATA_DIRECTORY EXPECTED_JSON SQL_MARKDOWN
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

const [data, expectedFile, sqlFile] = process.argv.slice(2)
const expected = JSON.parse(fs.readFileSync(expectedFile, 'utf8'))
const block = path.join(data, 'blocks', expected.block)

const hex = (b) => Buffer.from(b).toString('hex')

function bits(n) {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, n)
  return 'f' + view.getBigUint64(0).toString(16).padStart(16, '0')
}

// text gives values the form that expected.json has. type is the column's suffix.
function text(v, type) {
  if (type === 'float') return bits(v)
  if (v instanceof Uint8Array) return hex(v)
  if (v && typeof v === 'object' && v.bytes instanceof Uint8Array) return hex(v.bytes)
  return String(v)
}

const suffix = (name) => (/@([a-z]+)$/.exec(name) ?? [, 'string'])[1]

function attributes(row, prefix) {
  const out = {}
  for (const [name, v] of Object.entries(row)) {
    if (name.startsWith(prefix) && v !== null && v !== undefined) out[name] = text(v, suffix(name))
  }
  return out
}

function compareSpans(who, rows) {
  assert.equal(rows.length, expected.spans.length, `${who}: number of spans`)
  rows.forEach((row, i) => {
    const want = expected.spans[i]
    assert.equal(text(row.trace_id), want.trace_id, `${who}: trace id of row ${i}`)
    assert.equal(text(row.span_id), want.span_id, `${who}: span id of row ${i}`)
    assert.equal(row.name, want.name, `${who}: name of row ${i}`)
    assert.equal(String(row.kind), want.kind, `${who}: kind of row ${i}`)
    assert.equal(String(row.status_code), want.status, `${who}: status of row ${i}`)
    assert.equal(String(row.duration_nano), want.duration, `${who}: duration of row ${i}`)
    assert.equal(row.service_name ?? null, want.service, `${who}: service of row ${i}`)
    assert.deepEqual(attributes(row, 'span.'), want.attrs ?? {}, `${who}: attributes of row ${i}`)
  })
}

function compareEvents(who, rows) {
  assert.equal(rows.length, expected.events.length, `${who}: number of events`)
  rows.forEach((row, i) => {
    const want = expected.events[i]
    assert.equal(String(row.span_row), want.span_row, `${who}: row of event ${i}`)
    assert.equal(String(row.time_offset_nano), want.offset, `${who}: offset of event ${i}`)
    assert.equal(row.name, want.name, `${who}: name of event ${i}`)
    assert.deepEqual(attributes(row, 'event.'), want.attrs ?? {}, `${who}: attributes of event ${i}`)
  })
}

async function withHyparquet() {
  const read = async (name) => {
    const file = await asyncBufferFromFile(path.join(block, name))
    const metadata = await parquetMetadataAsync(file)
    return { rows: await parquetReadObjects({ file, metadata, compressors, utf8: false, parsers: rawTimes }), metadata }
  }
  const spans = await read('spans.parquet')
  assert.equal(Number(spans.metadata.num_rows), expected.spans.length)
  compareSpans('hyparquet', spans.rows)
  spans.rows.forEach((row, i) => assert.equal(String(row.start_time), expected.spans[i].start, `hyparquet: start of row ${i}`))
  compareEvents('hyparquet', (await read('events.parquet')).rows)
  assert.equal((await read('links.parquet')).rows.length, expected.links, 'hyparquet: number of links')
  assert.equal((await read('resources.parquet')).rows.length, expected.resources, 'hyparquet: number of resources and scopes')
}

// Times as the integers they are: a Date has no nanoseconds.
const rawTimes = { timestampFromNanoseconds: (n) => n }

async function withDuckDB() {
  const db = await (await DuckDBInstance.create(':memory:')).connect()
  const rows = async (sql) => (await db.runAndReadAll(sql)).getRowObjects()
  const at = (name) => `read_parquet('${path.join(block, name)}')`
  // DuckDB renames columns whose names differ in case only, so rows get the names of the file.
  const table = async (name) => {
    const names = (await rows(`SELECT name FROM parquet_schema('${path.join(block, name)}')`)).slice(1).map((r) => r.name)
    const values = (await db.runAndReadAll(`SELECT * FROM ${at(name)}`)).getRows()
    return values.map((v) => Object.fromEntries(v.map((x, i) => [names[i], x])))
  }
  compareSpans('duckdb', await table('spans.parquet'))
  const starts = await rows(`SELECT epoch_ns(start_time) AS t FROM ${at('spans.parquet')}`)
  starts.forEach((row, i) => assert.equal(String(row.t), expected.spans[i].start, `duckdb: start of row ${i}`))
  compareEvents('duckdb', await table('events.parquet'))
  const [links] = await rows(`SELECT count(*) AS n FROM ${at('links.parquet')}`)
  assert.equal(Number(links.n), expected.links, 'duckdb: number of links')
  // A filter that zone maps, dictionaries and bloom filters take part in.
  for (const [name, value, count] of expected.filters ?? []) {
    const [row] = await rows(`SELECT count(*) AS n FROM ${at('spans.parquet')} WHERE "${name}" = '${value.replaceAll("'", "''")}'`)
    assert.equal(Number(row.n), count, `duckdb: ${name} = ${value}`)
  }
  return { rows }
}

// The statements of the documentation, in order.
async function withDocumentation(rows) {
  const statements = [...fs.readFileSync(sqlFile, 'utf8').matchAll(/```sql\n([^]*?)```/g)]
    .map((m) => m[1].replaceAll('./data/', data + '/'))
  assert.ok(statements.length >= 7, 'docs/sql.md has its statements')
  const answers = []
  for (const sql of statements) answers.push(await rows(sql))
  const [routes, calls, errors] = answers.slice(-3)
  assert.deepEqual(routes.map((r) => [r.service_name, r.route, Number(r.requests)]), expected.routes, 'slowest routes by service')
  assert.deepEqual(calls.map((r) => [r.caller, r.callee, Number(r.calls)]), expected.calls, 'who calls whom')
  assert.deepEqual(errors.map((r) => [r.service_name, r.exception, Number(r.spans)]), expected.exceptions, 'exceptions')
  const tree = await rows('SELECT parent_span_id FROM span_tree ORDER BY row')
  assert.deepEqual(tree.map((r) => r.parent_span_id), expected.spans.map((s) => s.parent), 'parents')
}

await withHyparquet()
const { rows } = await withDuckDB()
if (expected.routes) await withDocumentation(rows)
console.log(`${expected.spans.length} spans and ${expected.events.length} events agree`)
