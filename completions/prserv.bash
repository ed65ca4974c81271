# SPDX-License-Identifier: MIT
# bash completion for prserv(1) and prserv-bench

_prserv() {
    local words=() i word join="" cur prev command="" action="" options="--server --timeout --json --tls-ca --tls-cert --tls-key --help"
    local commands="ping get test max export import diff floor migrate verify log why churn status feed bench"

    # Readline splits words at = and : too. Join --format=json and host:8585 again.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ $join || $word == +([=:]) ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        [[ $word == +([=:]) ]] && join=1 || join=""
    done
    cur=${words[-1]} prev=${words[-2]}
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*} cur=${cur#*=}
    fi
    if [[ ${words[0]##*/} == prserv-bench ]]; then
        command=bench
    fi
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        [[ -z $command || $command == feed && -z $action ]] || break
        case ${words[i]} in
        --server | --timeout | --tls-ca | --tls-cert | --tls-key) ((i++)) ;;
        -*) ;;
        *) [[ -z $command ]] && command=${words[i]} || action=${words[i]} ;;
        esac
    done
    case $prev in
    --format)
        mapfile -t COMPREPLY < <(compgen -W "conf json csv" -- "$cur")
        return
        ;;
    --from-audit | --output)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --work)
        mapfile -t COMPREPLY < <(compgen -W "ping test known new mix" -- "$cur")
        return
        ;;
    --server | --margin | --since | --limit | --annotate | --pkgarch | --checksum | --packages | --checksums | --seed | --connections | \
        --pipeline | --source-addresses | --seconds | --max-time | --requests | --warm-up | --warm-up-requests | --timeout)
        return
        ;;
    --version) # takes a version only in export
        [[ $command != export ]] || return
        ;;
    esac
    case $command in
    "") options="$options --version" ;;
    ping) options="$options --database" ;;
    get) options="$options --history --annotate" ;;
    test) options="$options --history" ;;
    log) options="$options --since --limit --follow" ;;
    churn) options="$options --since --limit" ;;
    export) options="$options --format --all --version --pkgarch --checksum --lockdown
        --spreadsheet --max-time" ;;
    import) options="$options --dry-run --keep-going" ;;
    floor) options="$options --all --margin --from-audit" ;;
    migrate) options="$options --keep-going" ;;
    diff) options="$options --all" ;;
    feed)
        case $action in
        "") options="$options --version" ;;
        check) options="$options --verbose --strict --pkgarch" ;;
        rows) options="$options --output --format --margin --all-keys --offline --pkgarch" ;;
        list) options="$options --pkgarch" ;;
        esac
        ;;
    bench)
        options="$options --work --packages --checksums --seed --prepared --history --connections
            --pipeline --reconnect --source-addresses --seconds --requests --warm-up --warm-up-requests
            --version"
        ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
    elif [[ $command == feed && -z $action ]]; then
        mapfile -t COMPREPLY < <(compgen -W "check rows list" -- "$cur")
    elif [[ $command == export || $command == import || $command == diff ||
        $command == migrate || $command == verify || $command == feed ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

complete -F _prserv prserv prserv-bench
