// npm's oidc-provider on a port of 127.0.0.1, for the tests: `node server.mjs PORT JWKS`.
// Tokens of the clients whose id ends with "-short" live for one second, so that each use renews them.
import { Provider } from 'oidc-provider'

const [port, jwks] = [process.argv[2], JSON.parse(process.argv[3])]
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'

const machine = (client_id, method, more = {}) => ({
  client_id, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  token_endpoint_auth_method: method, ...more,
})
const device = (client_id) => ({
  client_id, token_endpoint_auth_method: 'none', grant_types: [DEVICE, 'refresh_token'],
  redirect_uris: [], response_types: [], application_type: 'native',
})

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    machine('basic', 'client_secret_basic', { client_secret: 'p:w %+' }),
    machine('post', 'client_secret_post', { client_secret: 'secret' }),
    machine('key', 'private_key_jwt', { jwks, token_endpoint_auth_signing_alg: 'ES256' }),
    machine('dpop', 'client_secret_basic', { client_secret: 'secret', dpop_bound_access_tokens: true }),
    device('device'),
    device('device-short'),
    {
      client_id: 'browser', token_endpoint_auth_method: 'none', application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/callback'],
    },
  ],
  scopes: ['openid', 'offline_access', 'read', 'write'],
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
  ttl: { DeviceCode: 60, RefreshToken: 600, Session: 600, Interaction: 600, Grant: 600 },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:api',
      useGrantedResource: () => true,
      getResourceServerInfo: (_, __, client) => ({
        scope: 'read write', audience: 'urn:api', accessTokenFormat: 'opaque',
        accessTokenTTL: client.clientId.endsWith('-short') ? 1 : 600,
      }),
    },
  },
})
provider.listen(port, '127.0.0.1', () => console.log('up'))
