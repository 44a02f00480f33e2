// Reads paths of Parquet files, one a line, and writes the name of each column and each value that DuckDB reads from
// them, one a line: text and bytes as they are, everything else as text. Nulls are left out.
import fs from 'node:fs'
import { DuckDBInstance } from '@duckdb/node-api'

const db = await (await DuckDBInstance.create(':memory:')).connect()
const newline = Buffer.from('\n')

function write(chunks) {
  const all = Buffer.concat(chunks)
  for (let at = 0; at < all.length; ) at += fs.writeSync(1, all, at)
}

for (const file of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const quoted = `'${file.replaceAll("'", "''")}'`
  const names = (await db.runAndReadAll(`SELECT name FROM parquet_schema(${quoted})`)).getRowObjects()
  write(names.flatMap((r) => [Buffer.from(String(r.name)), newline]))
  for (const row of (await db.runAndReadAll(`SELECT * FROM read_parquet(${quoted})`)).getRows()) {
    const out = []
    for (const v of row) {
      if (v === null || v === undefined) continue
      out.push(v.bytes instanceof Uint8Array ? Buffer.from(v.bytes) : Buffer.from(String(v)), newline)
    }
    write(out)
  }
}
