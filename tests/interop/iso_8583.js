// ISO 8583 messages by the npm package iso_8583, told the formats of our dialect; MACs by sm-crypto.
'use strict'

const Iso8583 = require('iso_8583')
const table = require('iso_8583/lib/formats') // the fields as the package itself has them
const messageTypes = require('iso_8583/lib/msgTypes')

const { 'sm4.cbcMac': cbcMac } = require('./sm_crypto')

const LENGTH_BYTES = 2
const MTI = 4
const BITMAP = 16 // hex digits of one bitmap
const MAC = 16 // hex digits

// Which fields a whole frame (with its two bytes of length) has, and what is in them.
function decode({ frame, formats }) {
  const raw = Buffer.from(frame, 'hex')
  if (raw.readUInt16BE(0) !== raw.length - LENGTH_BYTES) throw new Error('the length does not fit') // not checked there
  const [message, config] = readable(raw)
  const fields = new Iso8583({}, formats).getIsoJSON(message, config)
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
function build({ fields, formats, macKey }) {
  const draft = pack({ ...fields, 128: '0'.repeat(MAC) }, formats).subarray(LENGTH_BYTES, -MAC)
  const mac = cbcMac({ key: macKey, data: draft.toString('hex') }).slice(0, MAC).toUpperCase()
  return pack({ ...fields, 128: mac }, formats).toString('hex')
}

function pack(fields, formats) {
  const packed = new Iso8583(fields, formats).getBufferMessage()
  if (!Buffer.isBuffer(packed)) throw new Error(packed.error ?? 'the package did not pack the message')
  return packed
}

// Whether the last field of a whole frame is the MAC under this key over all before it.
function macIsValid({ frame, macKey }) {
  const body = Buffer.from(frame, 'hex').subarray(LENGTH_BYTES)
  const mac = cbcMac({ key: macKey, data: body.subarray(0, -MAC).toString('hex') }).slice(0, MAC).toUpperCase()
  return mac === body.toString('latin1', body.length - MAC)
}

// What the package says against each field, by the given formats or by its own table: {field: its words}.
function faults({ fields, formats = {} }) {
  const found = {}
  for (const [number, value] of Object.entries(fields)) {
    if (number === '0') continue
    const verdict = new Iso8583({ 0: fields[0], [number]: value }, formats).validateMessage()
    if (verdict !== true) found[number] = verdict.error ?? 'invalid'
  }
  return found
}

function ownFormat({ field }) {
  const { ContentType: content, LenType: length, MaxLen: most } = table[field]
  return { content, length, most }
}

module.exports = {
  'iso.decode': decode,
  'iso.build': build,
  'iso.macIsValid': macIsValid,
  'iso.faults': faults,
  'iso.isValid': ({ fields, formats }) => new Iso8583(fields, formats).validateMessage() === true,
  'iso.ownFormat': ownFormat,
  'iso.messageType': ({ type }) => messageTypes(type),
}
