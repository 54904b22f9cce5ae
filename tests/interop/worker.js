// The independent implementations behind one process: a JSON request per line in, a JSON answer per line out.
//
// {"operation": "sm2.sign", ...} → {"result": ...}, or {"error": text} where the operation threw. Bytes travel as hex.
'use strict'

const readline = require('node:readline')

const operations = { ...require('./sm_crypto'), ...require('./iso_8583') }

function answer(line) {
  try {
    const { operation, ...asked } = JSON.parse(line)
    if (!Object.hasOwn(operations, operation)) throw new Error(`no operation ${operation}`)
    return { result: operations[operation](asked) }
  } catch (error) {
    return { error: `${error.name}: ${error.message}` }
  }
}

readline.createInterface({ input: process.stdin, terminal: false }).on('line', line => {
  process.stdout.write(JSON.stringify(answer(line)) + '\n')
})
