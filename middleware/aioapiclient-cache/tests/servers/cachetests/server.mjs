// The origin of http-tests/cache-tests, on a free port of 127.0.0.1.
import http from 'http'

import handleConfig from 'http-cache-tests/server/handle-config.mjs'
import handleState from 'http-cache-tests/server/handle-state.mjs'
import handleTest from 'http-cache-tests/server/handle-test.mjs'

const handlers = { config: handleConfig, state: handleState, test: handleTest }

const server = http.createServer((request, response) => {
  const [dispatch, ...rest] = new URL(request.url, 'http://localhost/').pathname.split('/').slice(1)
  const handle = handlers[dispatch]
  if (handle) {
    handle(rest, request, response)
  } else {
    response.writeHead(404).end()
  }
})
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`))
