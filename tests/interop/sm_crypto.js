// SM2, SM3 and SM4 by the npm package sm-crypto; and, over its block cipher, the two modes that it does not have.
'use strict'

const { sm2, sm3, sm4 } = require('sm-crypto')

const BigInteger = sm2.getPoint().k.constructor // what sm-crypto counts with, and takes its points in
const C1C3C2 = 1
const BLOCK = 16

const bytes = hex => [...Buffer.from(hex, 'hex')]
const hex = list => Buffer.from(list).toString('hex')

function sign({ message, privateKey, der = false, identity, ephemeral }) {
  const options = { der, ...(identity === undefined ? {} : { userId: identity }) }
  if (ephemeral !== undefined) options.pointPool = [point(ephemeral)]
  return sm2.doSignature(bytes(message), privateKey, options)
}

// The point of a chosen ephemeral key, so that a signature of a wanted shape can be had again and again.
function point(ephemeral) {
  const publicKey = sm2.getPublicKeyFromPrivateKey(ephemeral)
  return { k: new BigInteger(ephemeral, 16), x1: new BigInteger(publicKey.slice(2, 66), 16) }
}

function verify({ message, signature, publicKey, der = false, identity }) {
  const options = { der, ...(identity === undefined ? {} : { userId: identity }) }
  return sm2.doVerifySignature(bytes(message), signature, publicKey, options)
}

// sm-crypto leaves the 04 of C1 out, and answers a ciphertext that is not authentic with nothing.
const encrypt = ({ message, publicKey }) => '04' + sm2.doEncrypt(bytes(message), publicKey, C1C3C2)

function decrypt({ ciphertext, privateKey }) {
  const opened = sm2.doDecrypt(ciphertext.slice(2), privateKey, C1C3C2, { output: 'array' })
  return opened.length ? hex(opened) : null
}

function sm4Mode(direction) {
  return ({ data, key, iv, mode, padding = 'none' }) => {
    const options = { mode, padding, output: 'array', ...(iv === undefined ? {} : { iv }) }
    return hex(sm4[direction](bytes(data), key, options))
  }
}

// CBC-MAC, GB/T 15852.1 (ISO/IEC 9797-1 algorithm 1): zero IV, padding method 2. sm-crypto has no MAC of its own.
function cbcMac({ data, key }) {
  const padded = [...bytes(data), 0x80]
  while (padded.length % BLOCK) padded.push(0)
  const options = { mode: 'cbc', iv: '00'.repeat(BLOCK), padding: 'none', output: 'array' }
  return hex(sm4.encrypt(padded, key, options).slice(-BLOCK))
}

// The key of one bank or purpose, as docs/reference/crypto.md states it: `diversify`.
function diversify({ masterKey, diversifier, purpose }) {
  const label = Buffer.from(purpose, 'utf8')
  const body = Buffer.concat([bigEndian(label.length, 2), label, Buffer.from(diversifier, 'hex')])
  return cbcMac({ key: masterKey, data: hex([...bigEndian(body.length, 4), ...body]) })
}

// GCM (NIST SP 800-38D with SM4, RFC 8998), written from the standard: sm-crypto has the block cipher only.
function gcm({ key, nonce, data, additional = '', open = false }) {
  const cipher = block => sm4.encrypt(block, key, { padding: 'none', output: 'array' })
  const input = Buffer.from(data, 'hex')
  const text = open ? input.subarray(0, -BLOCK) : input
  const first = [...bytes(nonce), 0, 0, 0, 1]
  const crypted = counterMode(cipher, first, text)
  const ciphertext = open ? text : crypted
  const mask = BigInt('0x' + hex(cipher(first)))
  const tag = mask ^ ghash(BigInt('0x' + hex(cipher(Array(BLOCK).fill(0)))), Buffer.from(additional, 'hex'), ciphertext)
  const tagHex = tag.toString(16).padStart(2 * BLOCK, '0')
  if (!open) return crypted.toString('hex') + tagHex
  return tagHex === input.subarray(-BLOCK).toString('hex') ? crypted.toString('hex') : null
}

function counterMode(cipher, first, text) {
  const out = Buffer.from(text)
  const counter = Buffer.from(first)
  for (let start = 0; start < out.length; start += BLOCK) {
    counter.writeUInt32BE((counter.readUInt32BE(12) + 1) >>> 0, 12)
    const mask = cipher([...counter])
    for (let at = start; at < Math.min(start + BLOCK, out.length); at++) out[at] ^= mask[at - start]
  }
  return out
}

function ghash(subkey, additional, ciphertext) {
  const lengths = Buffer.concat([bigEndian(additional.length * 8, 8), bigEndian(ciphertext.length * 8, 8)])
  let sum = 0n
  for (const part of [additional, ciphertext, lengths]) {
    for (let start = 0; start < part.length; start += BLOCK) {
      const block = Buffer.alloc(BLOCK)
      part.copy(block, 0, start, start + BLOCK)
      sum = multiply(sum ^ BigInt('0x' + block.toString('hex')), subkey)
    }
  }
  return sum
}

// Multiplication in GF(2^128), bits in GCM's order (algorithm 1 of SP 800-38D).
function multiply(x, y) {
  let product = 0n
  for (let bit = 127n; bit >= 0n; bit--) {
    if ((x >> bit) & 1n) product ^= y
    y = y & 1n ? (y >> 1n) ^ (0xe1n << 120n) : y >> 1n
  }
  return product
}

function bigEndian(value, size) {
  const out = Buffer.alloc(size)
  out.writeUIntBE(value, Math.max(0, size - 6), Math.min(size, 6))
  return out
}

module.exports = {
  'sm2.generate': () => sm2.generateKeyPairHex(),
  'sm2.publicKey': ({ privateKey }) => sm2.getPublicKeyFromPrivateKey(privateKey),
  'sm2.sign': sign,
  'sm2.verify': verify,
  'sm2.encrypt': encrypt,
  'sm2.decrypt': decrypt,
  sm3: ({ data }) => sm3(bytes(data)),
  'sm3.hmac': ({ data, key }) => sm3(bytes(data), { key: bytes(key) }),
  'sm4.encrypt': sm4Mode('encrypt'),
  'sm4.decrypt': sm4Mode('decrypt'),
  'sm4.cbcMac': cbcMac,
  'sm4.diversify': diversify,
  'sm4.gcm': gcm,
}
