"""A Django service that makes an avatar for each of its users, in the background. One file, no project needed.

python examples/django_service.py runserver
"""

from __future__ import annotations

import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from synerdiff.client import Client, JobNotFound, Overloaded

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"], SECRET_KEY="an example's")
django.setup()

client = Client()  # one for the process; threads share it


@csrf_exempt
@require_POST
def order(request: HttpRequest, user: str) -> JsonResponse:
    """Order an avatar. Ordering twice gives the same job: the key is the user's name."""
    try:
        job_id = client.submit(
            prompt="a smiling face", steps=10, idempotency_key=f"avatar:{user}", metadata={"user": user}
        )
    except Overloaded as error:
        headers = {"Retry-After": str(round(error.retry_after_s))}
        return JsonResponse({"detail": "too many orders"}, status=503, headers=headers)
    return JsonResponse({"job": job_id}, status=202)


@require_GET
def show(request: HttpRequest, job_id: str) -> JsonResponse:
    """Where the avatar is, with a link once it is there."""
    try:
        view = client.get(job_id, urls=True)
    except JobNotFound:
        raise Http404("no such order") from None
    return JsonResponse({"state": view.state.value, "url": view.images[0].url if view.images else None})


urlpatterns = [path("orders/<str:user>", order), path("avatars/<str:job_id>", show)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
