/* A libnvidia-ml.so.1 that answers what a text file says.
 *
 * MOCK_NVML names the file; it is read again when it changes. Lines of fields, KEY=VALUE, between
 * tabs; the first field of a line says what it is:
 *
 *   driver  init=STATUS|crash  version=TEXT
 *   gpu     uuid= name= util= power= limit= temp= sm= mem= enc= dec= reasons= ecc= mem_total=
 *           mem_used= mem_reserved= pcie_tx= pcie_rx= (KB/s) pcie_tx_bytes= pcie_rx_bytes=
 *           nvlink_tx= nvlink_rx= (KiB so far) links= mig=1 lost=1 xid=N procs=PID:BYTES,...
 *   slice   the same, of the gpu before it
 *
 * Any line: fail=FUNCTION:STATUS,... and hang=FUNCTION,... (until the file no longer says so) and
 * slow=FUNCTION:MILLISECONDS,... Any counter that is left out is not supported. MOCK_NVML_TRACE
 * names a file to which each call's name is appended.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef unsigned u32;

enum { OK, UNINITIALIZED, INVALID, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6, SHORT = 7,
       TIMED_OUT = 10, LOST = 15 };
enum { MOST = 64, FIELDS = 40, MOST_TEXT = 4096 };

typedef struct {
    char kind[16], text[MOST_TEXT];
    char *keys[FIELDS], *values[FIELDS];
    int fields, odd;                   /* odd: calls have to be looked at one by one */
} line;

static line lines[MOST];
static int count, ready;
static struct stat seen;
static u64 looked;
static char *names[256];               /* a handle is a place in here: it outlives its GPU */
static line *places[256];              /* where what the file says of it is now, if it does */
static u64 told_xid[256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static u64 milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static const char *get(const line *at, const char *key) {
    for (int i = 0; at && i < at->fields; i++)
        if (!strcmp(at->keys[i], key)) return at->values[i];
    return NULL;
}

static line *said_of(const char *name) {
    for (int i = 0; i < count; i++) {
        const char *uuid = get(&lines[i], "uuid");
        if (uuid && !strcmp(uuid, name)) return &lines[i];
    }
    return NULL;
}

static void parse(FILE *file) {
    static char text[MOST_TEXT];
    count = 0;
    while (count < MOST && fgets(text, sizeof text, file)) {
        line *at = &lines[count];
        text[strcspn(text, "\n")] = 0;
        if (!*text) continue;
        memset(at, 0, sizeof *at);
        strcpy(at->text, text);
        char *rest = at->text, *field = strsep(&rest, "\t");
        snprintf(at->kind, sizeof at->kind, "%s", field);
        while ((field = strsep(&rest, "\t")) && at->fields < FIELDS) {
            char *value = strchr(field, '=');
            if (!value) continue;
            *value++ = 0;
            at->keys[at->fields] = field;
            at->values[at->fields++] = value;
            at->odd |= !!strstr("fail hang slow lost", field);
        }
        count++;
    }
    for (int place = 0; place < 256 && names[place]; place++) places[place] = said_of(names[place]);
}

static const line *driver(void) {
    for (int i = 0; i < count; i++)
        if (!strcmp(lines[i].kind, "driver")) return &lines[i];
    return NULL;
}

static void look(void) {               /* with the lock */
    struct stat now;
    const char *path = getenv("MOCK_NVML");
    u64 at = milliseconds();
    if (!path || (looked && at - looked < 5)) return;
    looked = at;
    if (stat(path, &now)) return;
    if (now.st_ino == seen.st_ino && now.st_size == seen.st_size &&
        now.st_mtim.tv_sec == seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    seen = now;
    parse(file);
    fclose(file);
    const char *init = get(driver(), "init");
    if (init && strcmp(init, "0")) ready = 0;  /* the driver is gone, and all sessions with it */
}

/* Return what follows "FUNCTION" in the list of `key`, or NULL. */
static const char *listed(const line *at, const char *key, const char *function) {
    const char *list = get(at, key);
    size_t length = strlen(function);
    while (list && *list) {
        if (!strncmp(list, function, length) && strchr(":,", list[length])) return list + length;
        if (!strncmp(list, function, length) && !list[length]) return list + length;
        list = strchr(list, ',');
        if (list) list++;
    }
    return NULL;
}

static const line *find(void *handle) {
    u64 place = (u64)handle & 0xff;
    return (u64)handle >> 40 == 0x7f ? places[place] : NULL;
}

static void *handle_of(const line *at) {
    const char *uuid = get(at, "uuid");
    u64 place = 0;
    while (names[place] && strcmp(names[place], uuid)) place++;
    if (!names[place]) names[place] = strdup(uuid);
    places[place] = said_of(uuid);
    return (void *)(0x7f0000000000UL + place);  /* needs all 64 bits */
}

static void trace(const char *function) {
    static int descriptor = -2;
    if (descriptor == -2) {
        const char *path = getenv("MOCK_NVML_TRACE");
        descriptor = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    if (descriptor >= 0) dprintf(descriptor, "%s\n", function);
}

/* Begin a call: leaves the lock held, and `*at` the line it is about, if this returns OK. */
static int begin(const char *function, void *handle, int on_device, const line **at) {
    const char *said;
    trace(function);
    pthread_mutex_lock(&lock);
    for (int slept = 0;;) {
        look();
        *at = on_device ? find(handle) : driver();
        if (*at && !(*at)->odd) break;
        if (listed(*at, "hang", function)) {
            pthread_mutex_unlock(&lock);
            usleep(10000);
            pthread_mutex_lock(&lock);
            continue;
        }
        if ((said = listed(*at, "slow", function)) && !slept) {
            unsigned pause = (unsigned)atoi(said + 1) * 1000;
            slept = 1;
            pthread_mutex_unlock(&lock);
            usleep(pause);
            pthread_mutex_lock(&lock);
            continue;
        }
        break;
    }
    int status = OK;
    if (!ready && strncmp(function, "nvmlInit", 8)) status = UNINITIALIZED;
    else if (on_device && (!*at || get(*at, "lost"))) status = LOST;
    else if ((said = listed(*at, "fail", function))) status = atoi(said + 1);
    if (status) pthread_mutex_unlock(&lock);
    return status;
}

static int end(int status) { pthread_mutex_unlock(&lock); return status; }

#define BEGIN(handle, on_device)                                              \
    const line *at;                                                           \
    int status = begin(__func__, handle, on_device, &at);                     \
    if (status) return status;

static int number(const line *at, const char *key, u64 *value) {
    const char *text = get(at, key);
    if (!text) return NOT_SUPPORTED;
    *value = strtoull(text, NULL, 0);
    return OK;
}

static int number32(const line *at, const char *key, u32 *value) {
    u64 wide = 0;
    int status = number(at, key, &wide);
    if (!status) *value = (u32)wide;
    return status;
}

static int fill(const char *from, char *text, u32 size) {
    if (!from) return NOT_SUPPORTED;
    return strlen(from) < size ? (strcpy(text, from), OK) : SHORT;
}

/* --- the library ------------------------------------------------------------------------------ */

int nvmlInitWithFlags(u32 flags) {
    (void)flags;
    const line *at;
    int status = begin("nvmlInit_v2", NULL, 0, &at);
    if (status) return status;
    const char *init = get(at, "init");
    if (init && !strcmp(init, "crash")) abort();
    status = init ? atoi(init) : OK;
    ready = !status;
    return end(status);
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { BEGIN(NULL, 0) ready = 0; return end(OK); }
const char *nvmlErrorString(int status) {
    static char text[32];
    snprintf(text, sizeof text, "mock status %d", status);
    return text;
}
int nvmlSystemGetDriverVersion(char *text, u32 size) {
    BEGIN(NULL, 0)
    const char *version = get(at, "version");
    return end(fill(version ? version : "550.1", text, size));
}

static const line *gpu(u32 index) {
    for (const line *at = lines; at < lines + count; at++)
        if (!strcmp(at->kind, "gpu") && index-- == 0) return at;
    return NULL;
}
int nvmlDeviceGetCount_v2(u32 *number_of) {
    BEGIN(NULL, 0)
    *number_of = 0;
    for (int i = 0; i < count; i++) *number_of += !strcmp(lines[i].kind, "gpu");
    return end(OK);
}
int nvmlDeviceGetHandleByIndex_v2(u32 index, void **handle) {
    BEGIN(NULL, 0)
    at = gpu(index);
    if (!at) return end(INVALID);
    if (get(at, "lost")) return end(LOST);
    *handle = handle_of(at);
    return end(OK);
}
int nvmlDeviceGetUUID(void *handle, char *text, u32 size) {
    BEGIN(handle, 1)
    return end(fill(get(at, "uuid"), text, size));
}
int nvmlDeviceGetName(void *handle, char *text, u32 size) {
    BEGIN(handle, 1)
    return end(fill(get(at, "name"), text, size));
}

/* --- counters --------------------------------------------------------------------------------- */

typedef struct { u64 total, free, used; } memory;
typedef struct { u32 version; u64 total, reserved, free, used; } memory_v2;
typedef struct { u32 gpu, memory; } utilization;

int nvmlDeviceGetMemoryInfo(void *handle, memory *m) {
    BEGIN(handle, 1)
    u64 reserved = 0;
    number(at, "mem_reserved", &reserved);
    if (number(at, "mem_total", &m->total) || number(at, "mem_used", &m->used))
        return end(NOT_SUPPORTED);
    m->used += reserved;
    m->free = m->total - m->used;
    return end(OK);
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2 *m) {
    BEGIN(handle, 1)
    if (m->version != 0x02000028) return end(25);
    m->reserved = 0;
    number(at, "mem_reserved", &m->reserved);
    if (number(at, "mem_total", &m->total) || number(at, "mem_used", &m->used))
        return end(NOT_SUPPORTED);
    m->free = m->total - m->used - m->reserved;
    return end(OK);
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization *use) {
    BEGIN(handle, 1)
    use->memory = 0;
    if (get(at, "mig") || !strcmp(at->kind, "slice")) return end(NOT_SUPPORTED);
    return end(number32(at, "util", &use->gpu));
}

#define COUNTER(function, key)                                                \
    int function(void *handle, u32 *value) {                                  \
        BEGIN(handle, 1)                                                      \
        return end(number32(at, key, value));                                 \
    }
COUNTER(nvmlDeviceGetPowerUsage, "power")
COUNTER(nvmlDeviceGetEnforcedPowerLimit, "limit")

int nvmlDeviceGetTemperature(void *handle, u32 sensor, u32 *value) {
    BEGIN(handle, 1)
    return end(sensor ? INVALID : number32(at, "temp", value));
}
int nvmlDeviceGetClockInfo(void *handle, u32 type, u32 *value) {
    BEGIN(handle, 1)
    const char *keys[] = {"sm", "sm", "mem"};
    return end(type > 2 ? INVALID : number32(at, keys[type], value));
}
int nvmlDeviceGetEncoderUtilization(void *handle, u32 *value, u32 *period) {
    BEGIN(handle, 1)
    *period = 167000;
    return end(number32(at, "enc", value));
}
int nvmlDeviceGetDecoderUtilization(void *handle, u32 *value, u32 *period) {
    BEGIN(handle, 1)
    *period = 167000;
    return end(number32(at, "dec", value));
}
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, u64 *value) {
    BEGIN(handle, 1)
    return end(number(at, "reasons", value));
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, u64 *value) {
    BEGIN(handle, 1)
    return end(number(at, "reasons", value));
}
int nvmlDeviceGetTotalEccErrors(void *handle, u32 type, u32 counter, u64 *value) {
    BEGIN(handle, 1)
    return end(type != 1 || counter != 0 ? INVALID : number(at, "ecc", value));
}
int nvmlDeviceGetPcieThroughput(void *handle, u32 counter, u32 *value) {
    BEGIN(handle, 1)
    return end(number32(at, counter ? "pcie_rx" : "pcie_tx", value));
}
/* What other monitors ask for; some do not begin without. */
int nvmlDeviceGetMaxPcieLinkGeneration(void *handle, u32 *value) {
    BEGIN(handle, 1)
    *value = 5;
    return end(OK);
}
int nvmlDeviceGetIndex(void *handle, u32 *value) {
    BEGIN(handle, 1)
    *value = 0;
    for (const line *other = lines; other < at; other++) *value += !strcmp(other->kind, "gpu");
    return end(OK);
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    BEGIN(handle, 1)
    *major = 9;
    *minor = 0;
    return end(OK);
}
#define REFUSED(function)                                                     \
    int function(void *handle) {                                              \
        BEGIN(handle, 1)                                                      \
        return end(NOT_SUPPORTED);                                            \
    }
REFUSED(nvmlDeviceGetNvLinkVersion)
REFUSED(nvmlDeviceGetComputeMode)
REFUSED(nvmlDeviceGetDisplayActive)
REFUSED(nvmlDeviceGetDisplayMode)
REFUSED(nvmlDeviceGetFanSpeed)
REFUSED(nvmlDeviceGetMaxClockInfo)
REFUSED(nvmlDeviceGetPciInfo_v3)
REFUSED(nvmlDeviceGetPerformanceState)
REFUSED(nvmlDeviceGetPersistenceMode)
REFUSED(nvmlDeviceGetPowerManagementLimit)
REFUSED(nvmlDeviceIsMigDeviceHandle)

typedef struct {
    u32 field, scope;
    long long timestamp, latency;
    u32 type, status;
    u64 value;
} field_value;

int nvmlDeviceGetFieldValues(void *handle, int number_of, field_value *values) {
    BEGIN(handle, 1)
    for (int i = 0; i < number_of; i++) {
        field_value *each = &values[i];
        const char *key = NULL;
        u64 links = 0, wide = 0;
        number(at, "links", &links);
        each->type = 3;
        switch (each->field) {
        case 91: key = "links"; each->type = 1; break;
        case 138: key = "nvlink_tx"; break;
        case 139: key = "nvlink_rx"; break;
        case 197: key = "pcie_tx_bytes"; break;
        case 198: key = "pcie_rx_bytes"; break;
        }
        if (each->field == 197 || each->field == 198) each->type = get(at, "pcie_narrow") ? 1 : 3;
        each->status = key ? (u32)number(at, key, &wide) : NOT_SUPPORTED;
        each->value = each->type == 1 ? 0xdead00000000ULL | (u32)wide : wide;
        if ((each->field == 138 || each->field == 139) && get(at, "per_link")) {
            if (each->scope >= links) each->status = INVALID;
            else each->value = wide / links;
        }
    }
    return end(OK);
}

/* --- processes -------------------------------------------------------------------------------- */

typedef struct { u32 pid; u64 memory; u32 instance, compute_instance; } process;
typedef struct { u32 pid; u64 memory; } process_v1;

static int running(const line *at, const char *key, u32 *number_of, void *found, int old) {
    u32 room = *number_of, needed = 0;
    for (const char *text = get(at, key); text && *text; text = strchr(text, ',')) {
        char *rest;
        if (*text == ',') text++;
        u32 pid = (u32)strtoul(text, &rest, 10);
        u64 bytes = *rest == ':' ? strtoull(rest + 1, NULL, 10) : ~0ULL;
        if (needed < room && found) {
            if (old) ((process_v1 *)found)[needed] = (process_v1){pid, bytes};
            else ((process *)found)[needed] = (process){pid, bytes, ~0U, ~0U};
        }
        needed++;
    }
    *number_of = needed;
    return needed > room ? SHORT : OK;
}
#define RUNNING(function, key, old)                                           \
    int function(void *handle, u32 *number_of, void *found) {                 \
        BEGIN(handle, 1)                                                      \
        return end(running(at, key, number_of, found, old));                  \
    }
RUNNING(nvmlDeviceGetComputeRunningProcesses_v3, "procs", 0)
RUNNING(nvmlDeviceGetComputeRunningProcesses_v2, "procs", 0)
RUNNING(nvmlDeviceGetComputeRunningProcesses, "procs", 1)
RUNNING(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics", 0)
RUNNING(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps", 0)

/* --- MIG -------------------------------------------------------------------------------------- */

int nvmlDeviceGetMigMode(void *handle, u32 *current, u32 *pending) {
    BEGIN(handle, 1)
    status = number32(at, "mig", current);
    *pending = *current;
    return end(status);
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, u32 index, void **part) {
    BEGIN(handle, 1)
    for (at++; at < lines + count && !strcmp(at->kind, "slice"); at++)
        if (index-- == 0) {
            *part = handle_of(at);
            return end(OK);
        }
    return end(NOT_FOUND);
}

/* --- events ----------------------------------------------------------------------------------- */

typedef struct { void *device; u64 type, data; u32 instance, compute_instance; } event;

int nvmlEventSetCreate(void **set) {
    BEGIN(NULL, 0)
    *set = (void *)0x7e0000000001UL;
    memset(told_xid, 0, sizeof told_xid);
    return end(OK);
}
int nvmlDeviceRegisterEvents(void *handle, u64 types, void *set) {
    BEGIN(handle, 1)
    return end(types != 8 || set != (void *)0x7e0000000001UL ? INVALID : OK);
}
int nvmlEventSetWait_v2(void *set, event *data, u32 timeout) {
    (void)set, (void)timeout;
    BEGIN(NULL, 0)
    for (int i = 0; i < count; i++) {
        u64 xid = 0;
        if (number(&lines[i], "xid", &xid) || !get(&lines[i], "uuid")) continue;
        void *handle = handle_of(&lines[i]);
        if (told_xid[(u64)handle & 0xff] == xid) continue;
        told_xid[(u64)handle & 0xff] = xid;
        *data = (event){handle, 8, xid, ~0U, ~0U};
        return end(OK);
    }
    return end(TIMED_OUT);
}
