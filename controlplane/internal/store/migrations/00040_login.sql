-- +goose Up

-- What the control plane is to the OAuth2 server of each tenant. sealed is the text
-- that Keyring.Seal returns, of the client's key.
create table oauth_clients (
  tenant       text not null,
  client_id    text not null,
  callback_url text not null,
  sealed       text not null,
  constraint oauth_clients_pkey primary key (tenant)
);

-- Links and passwords that lead to pods. hashes is JSON: the hash of the secret by
-- networking key. expires_at is 0 for never, max_uses 0 for no bound.
create table access_tokens (
  tenant     text    not null,
  pod_id     text    not null,
  id         text    not null,
  label      text    not null,
  kind       text    not null,
  created_by text    not null,
  created_at bigint  not null,
  expires_at bigint  not null,
  max_uses   bigint  not null,
  revoked    boolean not null,
  hashes     text    not null,
  constraint access_tokens_pkey primary key (tenant, pod_id, id),
  constraint access_tokens_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);
