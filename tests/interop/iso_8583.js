// ISO 8583 messages by the npm package iso_8583, MACs by sm-crypto.
'use strict'

const Iso8583 = require('iso_8583')
const ownTable = require('iso_8583/lib/formats') // the fields as the package itself has them
const messageTypes = require('iso_8583/lib/msgTypes')

const { 'sm4.cbcMac': cbcMac } = require('./sm_crypto')

// Where our dialect departs from the package's table; in every other field the package keeps to its own.
const fixed = (content, length) => ({ ContentType: content, Label: '', LenType: 'fixed', MaxLen: length })
const dialect = {
  1: fixed('an', 32), // both bitmaps, as hex digits
  52: fixed('an', 32), // PIN block of 16 bytes, as hex digits
  53: fixed('n', 16),
  61: fixed('an', 20),
  64: fixed('an', 16), // MAC of 8 bytes, as hex digits
  128: fixed('an', 16),
}

// Which fields a message must have is said by our pages, not by the package: what it brings is an example (a 0210 would
// need an account number), of which it also forgets a part with every message that it judges.
const NONE_REQUIRED = require.resolve('./no_required_fields.json')

const LENGTH_BYTES = 2
const MTI = 4
const BITMAP = 16 // hex digits of one bitmap
const MAC = 16 // hex digits

// Which fields a whole frame (with its two bytes of length) has, and what is in them.
function decode({ frame }) {
  const raw = Buffer.from(frame, 'hex')
  if (raw.readUInt16BE(0) !== raw.length - LENGTH_BYTES) throw new Error('the length does not fit') // not checked there
  const [message, config] = readable(raw)
  const fields = new Iso8583({}, dialect).getIsoJSON(message, config)
  if (fields.error) throw new Error(fields.error)
  return fields
}

// The package reads bitmaps as hex digits only where there are two. A single one is given to it as bytes; the rest of
// the frame stays as it is.
function readable(raw) {
  const start = LENGTH_BYTES + MTI
  const first = raw.toString('latin1', start, start + BITMAP)
  if (parseInt(first[0], 16) & 8) return [raw, { bitmapEncoding: 'utf8' }]
  const parts = [raw.subarray(0, start), Buffer.from(first, 'hex'), raw.subarray(start + BITMAP)]
  return [Buffer.concat(parts), {}]
}

// A whole frame of these fields, with a MAC under this key in field 128 (the package always writes both bitmaps).
function build({ fields, macKey }) {
  const draft = pack({ ...fields, 128: '0'.repeat(MAC) }).subarray(LENGTH_BYTES, -MAC)
  return pack({ ...fields, 128: macOf(draft, macKey) }).toString('hex')
}

function pack(fields) {
  const packed = new Iso8583(fields, dialect).getBufferMessage()
  if (!Buffer.isBuffer(packed)) throw new Error(packed.error ?? 'the package did not pack the message')
  return packed
}

function macOf(covered, macKey) {
  return cbcMac({ key: macKey, data: covered.toString('hex') }).slice(0, MAC).toUpperCase()
}

// Whether the last field of a whole frame is the MAC under this key over all before it.
function macIsValid({ frame, macKey }) {
  const body = Buffer.from(frame, 'hex').subarray(LENGTH_BYTES)
  return macOf(body.subarray(0, -MAC), macKey) === body.toString('latin1', body.length - MAC)
}

// What the package says against each field, by our dialect or by its own table alone: {field: its words}.
function faults({ fields, byOwnTable = false }) {
  const found = {}
  for (const [number, value] of Object.entries(fields)) {
    if (number === '0') continue
    // Each field for itself: the package stops at the first fault.
    const alone = new Iso8583({ 0: fields[0], [number]: value }, byOwnTable ? {} : dialect, NONE_REQUIRED)
    const verdict = alone.validateMessage()
    if (verdict !== true) found[number] = verdict.error ?? 'invalid'
  }
  return found
}

function ownFormat({ field }) {
  const { ContentType: content, LenType: length, MaxLen: most } = ownTable[field]
  return { content, length, most }
}

module.exports = {
  'iso.decode': decode,
  'iso.build': build,
  'iso.macIsValid': macIsValid,
  'iso.isValid': ({ fields }) => new Iso8583(fields, dialect, NONE_REQUIRED).validateMessage() === true,
  'iso.faults': faults,
  'iso.ownFormat': ownFormat,
  'iso.departures': () => Object.keys(dialect),
  'iso.messageType': ({ type }) => messageTypes(type) ?? null,
}
