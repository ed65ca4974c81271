# bash completion for prserv(1)

_prserv() {
    local words=() i word join="" cur prev command="" options="--server --json --help"
    local commands="ping get test max export import diff migrate status bench"

    # Readline cuts words at = and : too: put --format=json and host:8585 together again.
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
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
        --server) ((i++)) ;;
        -*) ;;
        *)
            command=${words[i]}
            break
            ;;
        esac
    done
    case $prev in
    --format)
        mapfile -t COMPREPLY < <(compgen -W "conf json csv" -- "$cur")
        return
        ;;
    --work)
        mapfile -t COMPREPLY < <(compgen -W "ping test known new mix" -- "$cur")
        return
        ;;
    --server | --pkgarch | --checksum | --packages | --checksums | --seed | --connections | \
        --pipeline | --seconds | --requests | --warm-up | --warm-up-requests | --timeout)
        return
        ;;
    --version) # a version, for export
        [[ -z $command ]] || return
        ;;
    esac
    case $command in
    "") options="$options --version" ;;
    get | test) options="$options --history" ;;
    export) options="$options --format --all --version --pkgarch --checksum --lockdown" ;;
    import) options="$options --dry-run --keep-going" ;;
    migrate) options="$options --keep-going" ;;
    diff) options="$options --all" ;;
    bench)
        options="$options --work --packages --checksums --seed --prepared --history --connections
            --pipeline --reconnect --seconds --requests --warm-up --warm-up-requests --timeout"
        ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
    elif [[ $command == export || $command == import || $command == diff ||
        $command == migrate ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

complete -F _prserv prserv
