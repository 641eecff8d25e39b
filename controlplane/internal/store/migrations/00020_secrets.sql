-- +goose Up

-- Secrets of users. sealed is the text that Keyring.Seal returns. pod_id is ''
-- unless only one pod may use the secret.
create table secrets (
  tenant      text    not null,
  owner       text    not null,
  id          text    not null,
  uid         text    not null,
  description text    not null,
  scope       text    not null,
  pod_id      text    not null,
  readable    boolean not null,
  writable    boolean not null,
  sealed      text    not null,
  version     bigint  not null,
  created_at  bigint  not null,
  updated_at  bigint  not null,
  constraint secrets_pkey primary key (tenant, owner, id)
);

create table secret_permissions (
  tenant    text not null,
  owner     text not null,
  secret_id text not null,
  username  text not null,
  level     text not null,
  constraint secret_permissions_pkey primary key (tenant, owner, secret_id, username),
  constraint secret_permissions_secret_fkey foreign key (tenant, owner, secret_id)
    references secrets (tenant, owner, id) on delete cascade
);

create index secret_permissions_by_user
  on secret_permissions (tenant, username, owner, secret_id, level);

-- The audit log of secrets, append-only, which outlives them. seq counts from 1
-- for each of them.
create table secret_events (
  tenant    text   not null,
  owner     text   not null,
  secret_id text   not null,
  seq       bigint not null,
  at        bigint not null,
  kind      text   not null,
  actor     text   not null,
  pod_id    text   not null,
  constraint secret_events_pkey primary key (tenant, owner, secret_id, seq)
);

-- Values that were generated for a pod, by name.
create table pod_secrets (
  tenant text not null,
  pod_id text not null,
  name   text not null,
  sealed text not null,
  constraint pod_secrets_pkey primary key (tenant, pod_id, name),
  constraint pod_secrets_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);
