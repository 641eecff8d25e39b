-- +goose Up

-- Volumes and snapshots, by kind: 'volume' or 'snapshot'. What is in them lies in
-- files. source is JSON, '' for volumes; size_limit is in MiB.
create table volumes (
  kind        text   not null,
  tenant      text   not null,
  id          text   not null,
  uid         text   not null,
  owner       text   not null,
  description text   not null,
  size_limit  bigint not null,
  source      text   not null,
  version     bigint not null,
  created_at  bigint not null,
  updated_at  bigint not null,
  constraint volumes_pkey primary key (kind, tenant, id)
);

-- What the service remembers of them, with a version of its own. Times are 0 for
-- never, sizes are in bytes.
create table volume_state (
  kind        text   not null,
  tenant      text   not null,
  volume_id   text   not null,
  status      text   not null,
  message     text   not null,
  size        bigint not null,
  measured_at bigint not null,
  copied      bigint not null,
  attempts    bigint not null,
  lease_until bigint not null,
  version     bigint not null,
  constraint volume_state_pkey primary key (kind, tenant, volume_id),
  constraint volume_state_volume_fkey foreign key (kind, tenant, volume_id)
    references volumes (kind, tenant, id) on delete cascade
);

-- Finds what is unfinished, and what was not measured for the longest time.
create index volume_state_by_age on volume_state (status, measured_at);

create table volume_permissions (
  kind      text not null,
  tenant    text not null,
  volume_id text not null,
  username  text not null,
  level     text not null,
  constraint volume_permissions_pkey primary key (kind, tenant, volume_id, username),
  constraint volume_permissions_volume_fkey foreign key (kind, tenant, volume_id)
    references volumes (kind, tenant, id) on delete cascade
);

create index volume_permissions_by_user
  on volume_permissions (kind, tenant, username, volume_id, level);

-- Sizes as they were measured.
create table volume_usage (
  kind        text   not null,
  tenant      text   not null,
  volume_id   text   not null,
  measured_at bigint not null,
  size        bigint not null,
  constraint volume_usage_pkey primary key (kind, tenant, volume_id, measured_at),
  constraint volume_usage_volume_fkey foreign key (kind, tenant, volume_id)
    references volumes (kind, tenant, id) on delete cascade
);

-- Deleted volumes whose files are not gone yet. No key to volumes: another one
-- may have the id by now.
create table volume_tombstones (
  uid        text   not null,
  kind       text   not null,
  tenant     text   not null,
  volume_id  text   not null,
  deleted_at bigint not null,
  constraint volume_tombstones_pkey primary key (uid)
);

-- What pods used at their latest start: volumes, snapshots, secrets. owner is
-- that of a secret, '' for others.
create table pod_bindings (
  tenant text not null,
  pod_id text not null,
  kind   text not null,
  owner  text not null,
  name   text not null,
  constraint pod_bindings_pkey primary key (tenant, pod_id, kind, owner, name),
  constraint pod_bindings_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);

create index pod_bindings_by_target on pod_bindings (tenant, kind, owner, name, pod_id);
