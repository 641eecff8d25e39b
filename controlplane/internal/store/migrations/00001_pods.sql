-- +goose Up

-- The same statements build both engines. Types are those that mean the same in
-- SQLite and Postgres: times are microseconds since 1970 in UTC, in a bigint;
-- structured values are JSON in a text column.

-- What users asked for. version grows with each write of this row.
create table pods (
  tenant     text   not null,
  id         text   not null,
  uid        text   not null,
  site       text   not null,
  owner      text   not null,
  definition text   not null,
  requested  text   not null,
  version    bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  constraint pods_pkey primary key (tenant, id)
);

-- What the reconciler remembers, apart from what users write, with a version of
-- its own.
create table pod_state (
  tenant       text    not null,
  pod_id       text    not null,
  status       text    not null,
  container    text    not null,
  ready        boolean not null,
  instance     text    not null,
  started_at   bigint,
  stop_at      bigint,
  since        bigint  not null,
  attempts     bigint  not null,
  next_attempt bigint,
  version      bigint  not null,
  constraint pod_state_pkey primary key (tenant, pod_id),
  constraint pod_state_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);

create table pod_permissions (
  tenant   text not null,
  pod_id   text not null,
  username text not null,
  level    text not null,
  constraint pod_permissions_pkey primary key (tenant, pod_id, username),
  constraint pod_permissions_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);

-- Answers "the pods this user may see", in order, without reading the table.
create index pod_permissions_by_user
  on pod_permissions (tenant, username, pod_id, level);

-- sealed is the text that Keyring.Seal returns; it names its key.
create table pod_credentials (
  tenant text not null,
  pod_id text not null,
  sealed text not null,
  constraint pod_credentials_pkey primary key (tenant, pod_id),
  constraint pod_credentials_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);

-- The action log, append-only. seq counts from 1 for each pod.
create table pod_events (
  tenant  text   not null,
  pod_id  text   not null,
  seq     bigint not null,
  at      bigint not null,
  message text   not null,
  constraint pod_events_pkey primary key (tenant, pod_id, seq),
  constraint pod_events_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);

-- The newest output of a pod's container, any bytes.
create table pod_logs (
  tenant  text  not null,
  pod_id  text  not null,
  content bytea not null,
  constraint pod_logs_pkey primary key (tenant, pod_id),
  constraint pod_logs_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);
