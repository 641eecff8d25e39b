package api

import (
	"net/http"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// templateOperations are the rows of the table that are about templates.
func templateOperations() []operation {
	return []operation{
		{
			id: "list_templates", method: http.MethodGet, pattern: "/pods/templates",
			handle: (*server).listTemplates,
			about: about{
				tag: tagTemplates, summary: "List the templates you may read", query: pagingParams("id, description and metatags"),
				returns: envelopeOf("TemplatesResponse", []pods.TemplateView{}),
			},
		},
		{
			id: "add_template", method: http.MethodPost, pattern: "/pods/templates",
			body: true, changes: true, handle: (*server).addTemplate,
			about: about{
				tag: tagTemplates, summary: "Add a template",
				details: "You become its ADMIN. It has no tags yet. Ids are unique at the site, for all tenants together.",
				body:    newTemplate{}, example: `{"template_id":"mydb","description":"Databases for my group","metatags":["database"]}`,
				returns: envelopeOf("TemplateResponse", pods.TemplateView{}),
			},
		},
		{
			id: "list_templates_and_tags", method: http.MethodGet, pattern: "/pods/templates/tags",
			handle: (*server).listTemplatesAndTags,
			about: about{
				tag: tagTemplates, summary: "List the templates you may read with their tags",
				details: "An object with an entry for each template; versions of tags come newest first.",
				query:   append(pagingParams("id, description and metatags"), fullParam),
				returns: envelopeOf("TemplatesAndTagsResponse", map[string]templateAndTags{}),
			},
		},
		{
			id: "get_template", method: http.MethodGet, pattern: "/pods/templates/{template_id}",
			kind: kindTemplate, level: pods.LevelRead, handle: (*server).getTemplate,
			about: about{
				tag: tagTemplates, summary: "Show a template", returns: envelopeOf("TemplateResponse", pods.TemplateView{}),
			},
		},
		{
			id: "update_template", method: http.MethodPut, pattern: "/pods/templates/{template_id}",
			kind: kindTemplate, level: pods.LevelUser, body: true, changes: true, handle: (*server).updateTemplate,
			about: about{
				tag: tagTemplates, summary: "Change what a template says about itself",
				details: "Tags do not change: add a new version of a tag. A body that changes nothing is answered with `status` `error` and HTTP status 200.",
				body:    updateTemplate{}, example: `{"archive_message":"Please use mynewdb."}`,
				returns: envelopeOf("TemplateResponse", pods.TemplateView{}),
			},
		},
		{
			id: "delete_template", method: http.MethodDelete, pattern: "/pods/templates/{template_id}",
			kind: kindTemplate, level: pods.LevelAdmin, changes: true, handle: (*server).deleteTemplate,
			about: about{
				tag: tagTemplates, summary: "Delete a template with all its tags",
				details: "Pods that build on it go on running but can't be started again; a warning tells how many.",
				returns: envelopeOf("TemplateDeleteResponse", ""),
			},
		},

		// Templates, their tags.
		{
			id: "list_template_tags", method: http.MethodGet, pattern: "/pods/templates/{template_id}/tags",
			kind: kindTemplate, level: pods.LevelRead, handle: (*server).listTemplateTags,
			about: about{
				tag: tagTemplates, summary: "List all versions of a template's tags, newest first", query: []param{fullParam},
				returns: envelopeOf("TemplateTagsResponse", []pods.TemplateTagView{}),
			},
		},
		{
			id: "add_template_tag", method: http.MethodPost, pattern: "/pods/templates/{template_id}/tags",
			kind: kindTemplate, level: pods.LevelUser, body: true, changes: true, handle: (*server).addTemplateTag,
			about: about{
				tag: tagTemplates, summary: "Add a version of a tag",
				details: "A template named in the definition is pinned to its newest version. The definition must be that of a pod that could start, but for its image.",
				body:    newTemplateTag{},
				example: `{"pod_definition":{"image":"postgres:17","networking":{"default":{"protocol":"postgres","port":5432}}},"tag":"17","commit_message":"Postgres 17"}`,
				returns: envelopeOf("TemplateTagResponse", pods.TemplateTagView{}),
			},
		},
		{
			id: "get_template_tag", method: http.MethodGet, pattern: "/pods/templates/{template_id}/tags/{tag_id}",
			kind: kindTemplate, level: pods.LevelRead, handle: (*server).getTemplateTag,
			about: about{
				tag: tagTemplates, summary: "List the versions of a tag, or the one that is named",
				returns: envelopeOf("TemplateTagsResponse", []pods.TemplateTagView{}),
			},
		},
		{
			id: "delete_template_tag", method: http.MethodDelete, pattern: "/pods/templates/{template_id}/tags/{tag_id}",
			kind: kindTemplate, level: pods.LevelAdmin, changes: true, handle: (*server).deleteTemplateTag,
			about: about{
				tag: tagTemplates, summary: "Delete the versions of a tag, or the one that is named",
				details: "Refused while a pod or another tag builds on one of them, unless it is forced.",
				query:   []param{boolParam("force", false, "Delete it even if something builds on it.")},
				returns: envelopeOf("TemplateTagDeleteResponse", ""),
			},
		},
		{
			id: "save_pod_as_template_tag", method: http.MethodPost, pattern: "/pods/{pod_id_net}/save_pod_as_template_tag",
			kind: kindPod, level: pods.LevelAdmin, body: true, changes: true, handle: (*server).savePodAsTemplateTag,
			about: about{
				tag: tagTemplates, summary: "Save what was set on a pod as a version of a tag",
				details: "Needs ADMIN on the pod and USER on the template. Values of the environment become readable for all who may read the template.",
				body:    newTemplateTagFromPod{}, example: `{"template_id":"mydb","tag":"tuned","commit_message":"As my pod is now"}`,
				returns: envelopeOf("TemplateTagResponse", pods.TemplateTagView{}),
			},
		},

		// Templates, their permissions.
		{
			id: "get_template_permissions", method: http.MethodGet, pattern: "/pods/templates/{template_id}/permissions",
			kind: kindTemplate, level: pods.LevelUser, handle: (*server).getTemplatePermissions,
			about: about{
				tag: tagTemplates, summary: "List who may do what on a template", returns: envelopeOf("TemplatePermissionsResponse", permissions{}),
			},
		},
		{
			id: "set_template_permission", method: http.MethodPost, pattern: "/pods/templates/{template_id}/permissions",
			kind: kindTemplate, level: pods.LevelAdmin, body: true, changes: true, handle: (*server).setTemplatePermission,
			about: about{
				tag: tagTemplates, summary: "Give a user a level on a template",
				details: "`*` is everyone of the tenant, `tenant.<id>` everyone of another one, `**` everyone; these hold READ only, and the last two are for admins to give.",
				body:    setPermission{}, example: `{"user":"*","level":"READ"}`,
				returns: envelopeOf("TemplatePermissionsResponse", permissions{}),
			},
		},
		{
			id: "delete_template_permission", method: http.MethodDelete, pattern: "/pods/templates/{template_id}/permissions/{user}",
			kind: kindTemplate, level: pods.LevelAdmin, changes: true, handle: (*server).deleteTemplatePermission,
			about: about{
				tag: tagTemplates, summary: "Take a user's level on a template away", details: "One ADMIN has to stay.",
				returns: envelopeOf("TemplatePermissionsResponse", permissions{}),
			},
		},
	}
}

// fullParam is the parameter of lists of tags.
var fullParam = boolParam("full", true, "Show what each version defines.")

// provenanceOperations are the rows of the table that tell a pod's own values
// from its template's.
func provenanceOperations() []operation {
	return []operation{
		{
			id: "get_pod_overrides", method: http.MethodGet, pattern: "/pods/{pod_id}/overrides",
			kind: kindPod, level: pods.LevelRead, handle: (*server).getPodOverrides,
			about: about{
				tag: tagPods, summary: "Show what was set on a pod, and nothing else", returns: envelopeOf("PodOverridesResponse", pods.Overrides{}),
			},
		},
		{
			id: "get_pod_provenance", method: http.MethodGet, pattern: "/pods/{pod_id}/provenance",
			kind: kindPod, level: pods.LevelRead, handle: (*server).getPodProvenance,
			about: about{
				tag: tagPods, summary: "Show where each value of a pod comes from: itself, a template, or a default",
				returns: envelopeOf("PodProvenanceResponse", pods.Provenance{}),
			},
		},
		{
			id: "reset_pod_field", method: http.MethodPost, pattern: "/pods/{pod_id}/reset_field",
			kind: kindPod, level: pods.LevelAdmin, body: true, changes: true, handle: (*server).resetPodField,
			about: about{
				tag: tagPods, summary: "Give fields of a pod back to its template", details: "A running pod goes on as it is until it is restarted.",
				body: resetFields{}, example: `{"fields":["image","resources"]}`, returns: envelopeOf("PodResponse", pods.View{}),
			},
		},
	}
}

// imageOperations are the rows of the table that are about images.
func imageOperations() []operation {
	return []operation{
		{
			id: "get_images", method: http.MethodGet, pattern: "/pods/images",
			handle: (*server).getImages,
			about: about{
				tag: tagImages, summary: "List the images that pods may run", query: pagingParams("image and description"),
				returns: envelopeOf("ImagesResponse", []pods.ImageView{}),
			},
		},
		{
			id: "add_image", method: http.MethodPost, pattern: "/pods/images",
			admin: true, body: true, changes: true, handle: (*server).addImage,
			about: about{
				tag: tagImages, summary: "Allow an image", details: "For admins. A tag in its name is cut off: all of its tags are allowed.",
				body: newImage{}, example: `{"image":"tiangolo/uvicorn-gunicorn-fastapi","tenants":["**"],"description":"FastAPI"}`,
				returns: envelopeOf("ImageResponse", pods.ImageView{}),
			},
		},
		{
			id: "add_images", method: http.MethodPost, pattern: "/pods/images/bulk",
			admin: true, body: true, changes: true, handle: (*server).addImages,
			about: about{
				tag: tagImages, summary: "Allow several images", details: "For admins. All of them are added, or none.",
				query: []param{boolParam("skip_duplicates", false, "Pass over images that are there already.")},
				body:  []newImage{}, example: `[{"image":"redis","tenants":["dev"]},{"image":"nginx","tenants":["dev"]}]`,
				returns: envelopeOf("ImagesResponse", []pods.ImageView{}),
			},
		},
		{
			id: "get_image", method: http.MethodGet, pattern: "/pods/images/{image_id}", rest: true,
			handle: (*server).getImage,
			about: about{
				tag: tagImages, summary: "Show an image", details: "One that is not in the list is answered with `status` `error` and HTTP status 200.",
				returns: envelopeOf("ImageOrNothingResponse", imageOrNothing{}),
			},
		},
		{
			id: "update_image", method: http.MethodPut, pattern: "/pods/images/{image_id}", rest: true,
			admin: true, body: true, changes: true, handle: (*server).updateImage,
			about: about{
				tag: tagImages, summary: "Change which tenants may run an image",
				details: "For admins. Pods that run it go on. The fields in the body replace what was set. " +
					"One that is not in the list is answered with `status` `error` and HTTP status 200.",
				body: updateImageBody{}, example: `{"tenants":["**","-dev"]}`, returns: envelopeOf("ImageOrNothingResponse", imageOrNothing{}),
			},
		},
		{
			id: "delete_image", method: http.MethodDelete, pattern: "/pods/images/{image_id}", rest: true,
			admin: true, changes: true, handle: (*server).deleteImage,
			about: about{
				tag: tagImages, summary: "Allow an image no more",
				details: "For admins. Pods that run it go on. One that is not in the list is answered with `status` `error` and HTTP status 200.",
				returns: envelopeOf("ImageDeleteResponse", ""),
			},
		},
	}
}

// jupyterOperations are the rows of the table that are about notebook servers.
func jupyterOperations() []operation {
	return []operation{
		{
			id: "ensure_jupyter_pod", method: http.MethodGet, pattern: "/pods/jupyter/ensure",
			changes: true, handle: (*server).ensureJupyterPod,
			about: about{
				tag: tagJupyter, summary: "Find your notebook server, or make one",
				details: "It is made of the template `jupyterlab:noauth`, behind the Tapis login.",
				returns: envelopeOf("JupyterResponse", jupyterPod{}),
			},
		},
		{
			id: "upload_to_jupyter", method: http.MethodPost, pattern: "/pods/jupyter/{pod_id}/upload",
			kind: kindPod, level: pods.LevelUser, upload: true, changes: true, ownTimeout: true, handle: (*server).uploadToJupyter,
			about: about{
				tag: tagJupyter, summary: "Put a file into the folder of the notebooks",
				details: "`path` is below that folder; if it ends with `/` or is empty, the file keeps its name.",
				form:    uploadToJupyter{}, returns: envelopeOf("JupyterUploadResponse", jupyterUpload{}),
			},
		},
	}
}
