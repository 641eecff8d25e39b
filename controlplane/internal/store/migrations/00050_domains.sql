-- +goose Up

-- Names that pods claim as their own. next_check is 0 if nobody will look at it by
-- itself; last_checked and confirmed_at are 0 for never.
create table pod_domains (
  tenant       text   not null,
  pod_id       text   not null,
  domain       text   not null,
  net          text   not null,
  state        text   not null,
  token        text   not null,
  reason       text   not null,
  since        bigint not null,
  last_checked bigint not null,
  confirmed_at bigint not null,
  next_check   bigint not null,
  failures     bigint not null,
  constraint pod_domains_pkey primary key (tenant, pod_id, domain),
  constraint pod_domains_pod_fkey foreign key (tenant, pod_id)
    references pods (tenant, id) on delete cascade
);

-- A name leads to one pod of the site, whatever else goes wrong.
create unique index pod_domains_verified on pod_domains (domain) where state = 'verified';

create index pod_domains_by_domain on pod_domains (domain);
create index pod_domains_due on pod_domains (next_check) where next_check > 0;
