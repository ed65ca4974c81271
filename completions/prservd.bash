# SPDX-License-Identifier: MIT
# bash completion for prservd(8)

_prservd() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local options="--file --file-read --host --port --bind --read-only --history --stale-ok --upstream
        --log --loglevel --log-format --start --stop --pidfile --sync --patience --new-database
        --accept-rollback --state-dir --audit --audit-keep --max-message-bytes --max-memory-bytes
        --max-connections --max-requests-per-second-per-address --idle-timeout --http --with-parent --address-file --forward --annotate
        --tls-cert --tls-key --tls-client-ca --tls-ca --version --help"

    # Readline splits --sync=full at = too.
    if [[ $cur == = ]]; then
        cur=""
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
    -f | --file | -l | --log | --pidfile | --address-file | --tls-cert | --tls-key | --tls-client-ca | --tls-ca)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        ;;
    --loglevel)
        mapfile -t COMPREPLY < <(compgen -W "CRITICAL ERROR WARNING INFO DEBUG" -- "$cur")
        ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W "text json" -- "$cur") ;;
    --audit) mapfile -t COMPREPLY < <(compgen -W "on off" -- "$cur") ;;
    --sync) mapfile -t COMPREPLY < <(compgen -W "full normal off" -- "$cur") ;;
    --state-dir)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        ;;
    --file-read | --accept-rollback | --host | --port | --bind | -u | --upstream | --patience | --audit-keep | \
        --max-message-bytes | --max-memory-bytes | --max-connections | --max-requests-per-second-per-address | \
        --idle-timeout | --http | --forward) ;;
    --with-parent) mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid= 2>/dev/null)" -- "$cur") ;;
    --annotate)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W "build-host= build-name= machine= distro= layers=" -- "$cur")
        ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur") ;;
    esac
}

complete -F _prservd prservd bitbake-prserv
