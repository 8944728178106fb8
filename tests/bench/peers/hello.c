/*
 * What FastCGI itself costs: a responder that answers a fixed body and knows
 * nothing. hello SOCKET PROCESSES [early]: with early, the body is read to its
 * end and the connection closed at once, instead of waiting for the web server
 * to close it.
 */
#include <fcgiapp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* As long as a whoami's answer, with its headers. */
static const char answer[] =
    "Status: 200 OK\r\n"
    "X-Request-Id: 0123456789abcdef0123456789abcdef\r\n"
    "Content-Type: application/json\r\n"
    "Cache-Control: private, no-cache\r\n"
    "Content-Length: 285\r\n"
    "\r\n"
    "{\"app\":{\"id\":1,\"name\":\"An app\",\"public_key\":\"0123456789abcdef"
    "0123456789abcdef0123456789abcdef0123456789abcdef\",\"created_at\":\""
    "2026-01-01T00:00:00.000000Z\",\"updated_at\":\"2026-01-01T00:00:00."
    "000000Z\"},\"claims\":{\"sub\":\"user-000001\",\"iat\":1790000000,"
    "\"scope\":\"read write\",\"exp\":1790086400}}\n";

static void
serve(int sock, int early)
{
	FCGX_Request r;
	char body[4096];

	if (FCGX_InitRequest(&r, sock, 0) != 0)
		exit(1);
	while (FCGX_Accept_r(&r) == 0) {
		FCGX_PutStr(answer, (int)sizeof answer - 1, r.out);
		if (!early)
			continue;
		while (FCGX_GetStr(body, sizeof body, r.in) > 0)
			;
		FCGX_Detach(&r);
		FCGX_Finish_r(&r);
	}
	exit(1);
}

int
main(int argc, char **argv)
{
	int sock, i, n, early;

	if (argc < 3)
		return 2;
	early = argc > 3 && strcmp(argv[3], "early") == 0;
	n = atoi(argv[2]);
	if (FCGX_Init() != 0 || (sock = FCGX_OpenSocket(argv[1], 1024)) < 0 ||
	    chmod(argv[1], 0777) != 0)
		return 1;
	for (i = 0; i < n; i++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(sock, early);
		}
	while (wait(NULL) > 0)
		;
	return 1;
}
