"""What the site needs besides mkdocs' own options; named in mkdocs.yml."""

import os
import posixpath
import re

from pymdownx.slugs import slugify

LINK = re.compile(r"(\]\()(\.\.?/[^)\s#]*)((?:#[^)\s]*)?\))")


def on_config(config):
    """Anchors are those that GitHub gives headings."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_page_markdown(markdown, page, config, files):
    """Links to files outside docs/ lead to the repository; on GitHub they are relative."""
    folder = posixpath.dirname(page.file.src_uri)
    root = os.path.dirname(config.config_file_path)

    def to_repository(match):
        path = posixpath.normpath(posixpath.join("docs", folder, match[2]))
        if path == "docs" or path.startswith("docs/"):
            return match[0]
        kind = "tree" if os.path.isdir(os.path.join(root, path)) else "blob"
        return f"{match[1]}{config.extra['repository']}/{kind}/main/{path}{match[3]}"

    # Every second part is inside a fence, where nothing is a link.
    parts = re.split(r"(^[ ]*```.*?^[ ]*```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(p if i % 2 else LINK.sub(to_repository, p) for i, p in enumerate(parts))
