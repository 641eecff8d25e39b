package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// errClosed is returned after Close.
var errClosed = errors.New("the Kubernetes cluster is closed")

// unavailable says that it is not the pod that is at fault.
func unavailable(cause error, format string, args ...any) *pods.Error {
	e := pods.Errorf(pods.Unavailable, format, args...)
	e.Cause = cause
	return e
}

// apiError returns the error of a request as the pod's owner can understand it.
// What the API server refuses because of the pod is Invalid, a quota that is used
// up TooMany; all else is Unavailable, with the cause for the log: also what an
// administrator has to mend, since the pod can't help it. The error is ctx's if
// that has ended.
func apiError(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	cause := fmt.Errorf("%s: %w", doing, err)
	code, message := pods.Unavailable, "the cluster did not answer as expected; try again later"
	switch {
	case quotaExceeded(err):
		code, message = pods.TooMany, "the quota of the tenant is used up: "+statusMessage(err)
	case refused(err):
		code, message = pods.Invalid, "the cluster refused it: "+statusMessage(err)
	}
	return &pods.Error{Code: code, Messages: []string{message}, Cause: cause}
}

// quotaExceeded reports whether a ResourceQuota is in the way.
func quotaExceeded(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
}

// refused reports whether the API server refuses an object for what is in it. Of
// the answers with code 403, those of authorization are about us instead, and a
// namespace that is being deleted may come back.
func refused(err error) bool {
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) {
		return true
	}
	return apierrors.IsForbidden(err) && !notAuthorized(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// notAuthorized reports whether we lack a right. The API server has no other sign
// for it: "... is forbidden: User \"podway\" cannot create resource ...".
func notAuthorized(err error) bool { return strings.Contains(err.Error(), " cannot ") }

// statusMessage returns what the API server says, without what is for programs.
func statusMessage(err error) string {
	var status apierrors.APIStatus // an interface that is not an error, so no use for errors.AsType
	if !errors.As(err, &status) {
		return err.Error()
	}
	if details := status.Status().Details; details != nil && len(details.Causes) > 0 {
		parts := make([]string, 0, len(details.Causes))
		for _, c := range details.Causes {
			parts = append(parts, strings.TrimPrefix(c.Field+": "+c.Message, ": "))
		}
		return strings.Join(parts, "; ")
	}
	return status.Status().Message
}

// ignoreNotThere returns nil for the deletion of what is gone already, or was
// replaced by something else of its name.
func ignoreNotThere(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// sameUID makes a deletion fail for any object but this one.
func sameUID(o metav1.Object) metav1.DeleteOptions {
	return metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(o.GetUID()))}
}
