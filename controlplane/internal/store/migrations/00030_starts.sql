-- +goose Up

alter table template_tags add column description text not null default '';

-- What users of a version are told that should no longer be used; '' if it should.
alter table template_tags add column archive_message text not null default '';

-- With what each pod was started last. fields is JSON: a fingerprint of every
-- field that only a start applies, by name.
create table pod_starts (
  tenant text not null,
  pod_id text not null,
  fields text not null,
  constraint pod_starts_pkey primary key (tenant, pod_id),
  constraint pod_starts_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);
