# bash completion for prserv(1)

_prserv() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="ping get test max export import diff status bench"
    local command="" word options="--server --json --help"

    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case " $commands " in
        *" $word "*)
            command=$word
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
    esac
    case $command in
    "") options="$options --version" ;;
    get | test) options="$options --history" ;;
    export) options="$options --format --all --version --pkgarch --checksum --lockdown" ;;
    import) options="$options --dry-run --keep-going" ;;
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
    elif [[ $command == export || $command == import || $command == diff ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

complete -F _prserv prserv
