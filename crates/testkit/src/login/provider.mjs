// An OpenID Connect provider for tests: oidc-provider on loopback, with forms in which anybody logs in.
// Arguments: a client's id, its secret, its redirect URI, and the groups of each user as JSON.
import http from 'node:http';
import Provider from 'oidc-provider';

const [client_id, client_secret, redirect_uri, groupsText, groupsIn] = process.argv.slice(1);
const groups = JSON.parse(groupsText);

const configuration = (issuer) => ({
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  // Claims of scopes are in the ID token, or only where the access token opens them.
  conformIdTokenClaims: groupsIn === 'userinfo',
  findAccount: (_, accountId) => ({
    accountId,
    claims: () => ({ sub: accountId, preferred_username: accountId, groups: groups[accountId] ?? [] }),
  }),
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  cookies: { keys: ['only for tests'] },
});

let answer = (_, response) => response.end();
const server = http.createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration(issuer));
  provider.on('server_error', (_, error) => console.error(error));
  answer = provider.callback();
  console.log(`listens at ${issuer}`);
});
