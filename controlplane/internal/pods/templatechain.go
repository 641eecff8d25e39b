package pods

import (
	"context"
	"slices"
)

// maxTemplates bounds the templates that one definition builds on.
const maxTemplates = 10

// maxImageLevels is how many templates are searched for the image of a pod that
// names none.
const maxImageLevels = 2

// TagReader finds the version that a reference names; a [TemplateStore] does.
type TagReader interface {
	// TemplateTag returns the version that a reference names, the newest one if
	// it is not pinned. NotFound if there is none.
	TemplateTag(ctx context.Context, r TemplateRef) (TemplateTag, error)
}

// TemplateChain returns the tags that a pod's definition builds on: the one it
// names, the one that names, and so on; empty if it names none. Their
// definitions are the chain for [Resolve].
//
// The error has code Invalid if a reference leads nowhere or in a circle, or if
// there are too many. Any other error is the reader's.
func TemplateChain(ctx context.Context, tags TagReader, own Definition) ([]TemplateTag, error) {
	chain, err := followTemplates(ctx, tags, own)
	if err != nil {
		return nil, err
	}
	return chain, checkImageLevel(own, chain, maxImageLevels)
}

// BaseChain is [TemplateChain] for the definition of a template tag, which is
// itself the first template of the pods that build on it.
func BaseChain(ctx context.Context, tags TagReader, own Definition) ([]TemplateTag, error) {
	chain, err := followTemplates(ctx, tags, own)
	if err != nil {
		return nil, err
	}
	return chain, checkImageLevel(own, chain, maxImageLevels-1)
}

func followTemplates(ctx context.Context, tags TagReader, own Definition) ([]TemplateTag, error) {
	var chain []TemplateTag
	for name := own.Template.Or(""); name != ""; {
		ref, err := ParseTemplateRef(name)
		if err != nil {
			return nil, err
		}
		tag, err := tags.TemplateTag(ctx, ref)
		if ErrorCode(err) == NotFound {
			return nil, ref.NotFound()
		}
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(chain, func(t TemplateTag) bool { return t.Ref() == tag.Ref() }) {
			return nil, Errorf(Invalid, "template: Infinite loop detected: template %s is referenced more than once in template waterfall.", tag.Ref())
		}
		if len(chain) == maxTemplates {
			return nil, Errorf(Invalid, "template: '%s' builds on more than %d templates.", own.Template.Or(""), maxTemplates)
		}
		chain = append(chain, tag)
		name = tag.Definition.Template.Or("")
	}
	return chain, nil
}

// checkImageLevel refuses a chain whose image is further away than a pod looks.
// One without any image is left to [Resolve]: the pod may name it.
func checkImageLevel(own Definition, chain []TemplateTag, levels int) error {
	if own.Image.Or("") != "" {
		return nil
	}
	at := slices.IndexFunc(chain, func(t TemplateTag) bool { return t.Definition.Image.Or("") != "" })
	if at < levels {
		return nil
	}
	return Errorf(Invalid, "template: Pods cannot have more than %d levels of templates. (template -> template -> image)", maxImageLevels)
}

// Definitions returns the definitions of a chain, in its order.
func Definitions(chain []TemplateTag) []Definition {
	definitions := make([]Definition, 0, len(chain))
	for _, t := range chain {
		definitions = append(definitions, t.Definition)
	}
	return definitions
}

// ValidateTemplate reports what would be wrong with a pod that builds on a
// template definition and sets nothing itself, but for a missing image: a pod
// may bring its own. The chain is that of the definition. It returns the image
// of such a pod, "" if it has none. The error has code Invalid and one message
// per problem.
func ValidateTemplate(s Settings, own Definition, chain ...Definition) (image string, err error) {
	e := complete(merge(own, chain), s)
	var p problems
	v := validator{problems: &p, settings: s, template: true}
	v.values(e)
	v.whole(e)
	return e.Image, p.err()
}
