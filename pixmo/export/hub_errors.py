"""What can go wrong with a push to the Hub, each with the next step, and how huggingface_hub's errors become these."""

from collections.abc import Iterator
from contextlib import contextmanager

from pixmo.errors import Conflict, Forbidden, NotSignedIn, PixmoError, Unprocessable


class RepoNameInvalid(Unprocessable):
    code = "repo_name_invalid"
    title = "The Hub has no repositories of this name"


class HubTokenMissing(NotSignedIn):
    code = "hub_token"
    title = "The Hub does not know you"


class HubForbidden(Forbidden):
    code = "hub_forbidden"
    title = "You may not write to this repository"


class HubUnreachable(PixmoError):
    status = 502
    code = "hub_unreachable"
    title = "The Hub does not answer"


class HubRefused(PixmoError):
    status = 502
    code = "hub_refused"
    title = "The Hub refused the push"


class RepoMoved(Conflict):
    code = "repo_moved"
    title = "Somebody else changed the repository in between"


class RepoHoldsOther(Conflict):
    """`main` holds another data set, a newer version, or something that is not pixmo's."""

    code = "repo_holds_other"
    title = "The repository holds something else"


class RepoPublic(Conflict):
    code = "repo_public"
    title = "The repository is public"


class TagTaken(Conflict):
    code = "tag_taken"
    title = "The Hub holds another version of this number"


class ImagesElsewhere(Conflict):
    """The image addresses of the version lead to another repository, or to a version that is not on the Hub."""

    code = "images_elsewhere"
    title = "The images of this version are not where it says"


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Errors of huggingface_hub and of the network as one line of pixmo with the next step."""
    try:
        yield
    except PixmoError:
        raise
    except Exception as error:
        # Which HTTP client huggingface_hub uses depends on its version: requests, httpx, httpx2.
        if not isinstance(error, (OSError, RuntimeError, ValueError)) and "httpx" not in type(error).__module__:
            raise
        raise _explain(error, repo) from error


def _explain(error: Exception, repo: str) -> PixmoError:
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, LocalTokenNotFoundError):
            return HubTokenMissing("No token of the Hub was given. Run `hf auth login`, or set HF_TOKEN.")
        if isinstance(cause, OfflineModeIsEnabled):
            return HubUnreachable("HF_HUB_OFFLINE is set, so nothing can be sent. Unset it and push again.")
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status is not None:
            said = getattr(cause, "server_message", None) or str(cause)
            return _explain_status(int(status), " ".join(said.split()), repo)
    if isinstance(chain[-1], ValueError):
        return HubRefused(f"The Hub did not take the push to {repo}: {error}. Correct this and push again.")
    return HubUnreachable(
        f"The Hub cannot be reached: {chain[-1]}. See to the network (HF_ENDPOINT, proxy) and push again; "
        f"what arrived is not sent twice."
    )


def _explain_status(status: int, said: str, repo: str) -> PixmoError:
    if status == 401:
        return HubTokenMissing(
            "The Hub does not accept this token. Make one at huggingface.co/settings/tokens with the right to write, "
            "then run `hf auth login`, or set HF_TOKEN."
        )
    if status in (403, 404):
        return HubForbidden(
            f"This token may not write to {repo} ({said}). Take a token with the right to write, and ask the "
            f"owner of {repo.partition('/')[0]} to let you in."
        )
    if status in (409, 412):
        return RepoMoved(f"{repo} was changed while this version was sent. Look at it on the Hub, then push again.")
    if status == 429 or status >= 500:
        return HubUnreachable(
            f"The Hub is busy or out of order ({status}). Push again in a few minutes; what arrived is not sent twice."
        )
    return HubRefused(f"The Hub did not take the push to {repo}: {said}. Correct this and push again.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
