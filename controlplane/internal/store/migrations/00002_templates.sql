-- +goose Up

-- Templates are shared by all tenants of the site, so an id is taken once. A
-- tenant of '' means that the template is built in.
create table templates (
  id              text   not null,
  uid             text   not null,
  tenant          text   not null,
  owner           text   not null,
  description     text   not null,
  metatags        text   not null,
  archive_message text   not null,
  version         bigint not null,
  created_at      bigint not null,
  updated_at      bigint not null,
  constraint templates_pkey primary key (id)
);

create table template_permissions (
  template_id text not null,
  username    text not null,
  level       text not null,
  constraint template_permissions_pkey primary key (template_id, username),
  constraint template_permissions_template_fkey foreign key (template_id)
    references templates (id) on delete cascade
);

create index template_permissions_by_user
  on template_permissions (username, template_id, level);

-- Versions of tags. stamp is seconds since 1970: what references write after the
-- @. base is the reference that the definition builds on, '' for none.
create table template_tags (
  template_id    text   not null,
  tag            text   not null,
  stamp          bigint not null,
  definition     text   not null,
  base           text   not null,
  commit_message text   not null,
  added_by       text   not null,
  created_at     bigint not null,
  constraint template_tags_pkey primary key (template_id, tag, stamp),
  constraint template_tags_template_fkey foreign key (template_id)
    references templates (id) on delete cascade
);

create index template_tags_by_base on template_tags (base) where base <> '';

-- The reference that a pod builds on, '' for none: a copy of what its definition
-- says, to find the pods of a template.
alter table pods add column template text not null default '';

create index pods_by_template on pods (template) where template <> '';

-- Images that pods may run. name is the canonical form, image what was written.
create table images (
  name        text   not null,
  image       text   not null,
  tenants     text   not null,
  description text   not null,
  added_by    text   not null,
  created_at  bigint not null,
  constraint images_pkey primary key (name)
);
